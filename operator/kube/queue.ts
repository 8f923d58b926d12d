import type { Clock } from './clock.ts';

/** Told of what happens on a queue, for metrics; all times in seconds. */
export interface QueueObserver {
  added?(): void;
  retried?(): void;
  /** A key was taken after waiting so long. */
  taken?(waited: number): void;
  /** A key was done after so long. */
  done?(worked: number): void;
}

export interface QueueOptions {
  readonly clock: Clock;
  /** First delay of a key that failed; doubles with every failure. Default 5 ms. */
  readonly firstDelayMs?: number;
  /** Longest such delay. Default 1000 s. */
  readonly longestDelayMs?: number;
  readonly observer?: QueueObserver;
}

/**
 * Keys that wait for work. A key waits once however often it is added; while it is worked on it is not given out
 * again, and an addition meanwhile puts it back when it is done. (The semantics of client-go's workqueue.)
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #first: number;
  readonly #longest: number;
  readonly #observer: QueueObserver;
  /** Waiting keys in order, with the time since which they wait. */
  readonly #waiting = new Map<string, number>();
  /** Keys worked on, with the time since which they are. */
  readonly #working = new Map<string, number>();
  /** Keys added while worked on. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, { at: number; cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #isShut = false;

  constructor(options: QueueOptions) {
    this.#clock = options.clock;
    this.#first = options.firstDelayMs ?? 5;
    this.#longest = options.longestDelayMs ?? 1_000_000;
    this.#observer = options.observer ?? {};
  }

  /** Keys that wait now, without those still delayed. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** Seconds that each key under work has been so. */
  get unfinished(): number[] {
    const now = this.#clock.monotonic();
    return [...this.#working.values()].map((since) => (now - since) / 1_000);
  }

  add(key: string): void {
    if (this.#isShut) return;
    if (this.#working.has(key)) {
      if (!this.#again.has(key)) this.#observer.added?.();
      this.#again.add(key);
      return;
    }
    if (this.#waiting.has(key)) return;
    this.#observer.added?.();
    this.#waiting.set(key, this.#clock.monotonic());
    this.#serve();
  }

  /** Adds a key after a delay; of several delays the one that ends first holds. */
  addAfter(key: string, ms: number): void {
    if (this.#isShut) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const at = this.#clock.monotonic() + ms;
    const other = this.#delayed.get(key);
    if (other !== undefined && other.at <= at) return;
    other?.cancel();
    const cancel = this.#clock.after(ms, () => {
      this.#delayed.delete(key);
      // Timers have a longest delay: one that came early waits for the rest.
      const rest = at - this.#clock.monotonic();
      if (rest > 1) this.addAfter(key, rest);
      else this.add(key);
    });
    this.#delayed.set(key, { at, cancel });
  }

  /** Adds a key that failed, after a delay that doubles with every failure in a row. */
  retry(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#observer.retried?.();
    this.addAfter(key, Math.min(this.#longest, this.#first * 2 ** Math.min(failures, 60)));
  }

  /** Forgets a key's failures. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** The next key, which is then worked on until `done`; undefined when the queue is shut. */
  take(): Promise<string | undefined> {
    if (this.#isShut) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#takers.push(resolve);
      this.#serve();
    });
  }

  /** Ends the work on a key that was taken. */
  done(key: string): void {
    const since = this.#working.get(key);
    if (since === undefined) throw new Error(`queue: ${key} is not worked on`);
    this.#working.delete(key);
    this.#observer.done?.((this.#clock.monotonic() - since) / 1_000);
    if (!this.#again.delete(key) || this.#isShut) return;
    this.#waiting.set(key, this.#clock.monotonic());
    this.#serve();
  }

  /** Takes no more keys and gives none out; work under way may end. */
  shut(): void {
    this.#isShut = true;
    for (const { cancel } of this.#delayed.values()) cancel();
    this.#delayed.clear();
    this.#waiting.clear();
    this.#again.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #serve(): void {
    while (this.#takers.length > 0) {
      const next = this.#waiting.entries().next().value;
      if (next === undefined) return;
      const [key, since] = next;
      const now = this.#clock.monotonic();
      this.#waiting.delete(key);
      this.#working.set(key, now);
      this.#observer.taken?.((now - since) / 1_000);
      this.#takers.shift()!(key);
    }
  }
}
