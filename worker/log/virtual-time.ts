/** What simulated parts need of a clock: virtual milliseconds, later calls, seeded randomness. */
export interface Scheduler {
  /** Milliseconds since the simulation began. */
  readonly now: number;
  /** Calls `run` once, `delayMs` from now; calls due at the same moment run in the order they were made in. */
  at(delayMs: number, run: () => void): void;
  /** Uniform in [0, 1), the same sequence for the same seed. */
  random(): number;
}

interface Due {
  readonly time: number;
  readonly order: number;
  readonly run: () => void;
}

/** A scheduler that jumps from event to event: hours of a run in milliseconds, and the same ones for the same seed. */
export class VirtualTime implements Scheduler {
  now = 0;
  #order = 0;
  #state: number;
  /** A binary heap: the earliest event is first. */
  readonly #heap: Due[] = [];

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  at(delayMs: number, run: () => void): void {
    this.#push({ time: this.now + Math.max(0, delayMs), order: this.#order++, run });
  }

  /** Mulberry32: a 32-bit counter put through a mixing function. */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** When the next event is due; undefined where there is none. */
  get next(): number | undefined {
    return this.#heap[0]?.time;
  }

  /** Runs the next event; false where there is none. */
  step(): boolean {
    const due = this.#pop();
    if (due === undefined) return false;
    this.now = due.time;
    due.run();
    return true;
  }

  /** Runs everything that is due up to and including `time`, then stands at `time`. */
  runUntil(time: number): void {
    while (this.#heap.length > 0 && this.#heap[0]!.time <= time) this.step();
    this.now = Math.max(this.now, time);
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let i = heap.push(due) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(due, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = due;
  }

  #pop(): Due | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let i = 0;
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function before(a: Due, b: Due): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}
