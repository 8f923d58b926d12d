import { MAX_THREADS } from './memory.ts';

/** What a thread of the pool is started with. */
export interface GridThread {
  readonly memory: WebAssembly.Memory;
  /** From 1; 0 is the thread that owns the state. */
  readonly thread: number;
}

/** Control words, at the start of the memory. */
const DISPATCH = 0;
const BUSY = 1;
const TASK_COUNT = 2;
const SHARES = 3;
const STOPPED = 4;
const STATUS = 8;
const SHARE = STATUS + MAX_THREADS;
const FROM = SHARE + MAX_THREADS;
const MAX = FROM + MAX_THREADS;

/** A thread's status: 0 while it starts, then ready, and once admitted it takes part in every dispatch. */
const READY = 1;
const ADMITTED = 2;

/** The few words through which the pool's threads agree. A dispatch takes in everybody who has been admitted. */
export class Control {
  readonly #words: Int32Array;
  readonly #floats: Float32Array;

  constructor(memory: WebAssembly.Memory) {
    this.#words = new Int32Array(memory.buffer, 0, MAX + MAX_THREADS);
    this.#floats = new Float32Array(memory.buffer, 0, MAX + MAX_THREADS);
  }

  /** Owner: lets threads that have become ready take part from now on. Returns how many do. */
  admit(): number {
    const words = this.#words;
    if (Atomics.load(words, STOPPED) !== 0) return 0;
    let helpers = 0;
    for (let thread = 1; thread < MAX_THREADS; thread++) {
      const status = Atomics.load(words, STATUS + thread);
      if (status === 0) continue;
      Atomics.store(words, SHARE + thread, ++helpers);
      if (status === ADMITTED) continue;
      Atomics.store(words, FROM + thread, Atomics.load(words, DISPATCH) + 1);
      Atomics.store(words, STATUS + thread, ADMITTED);
    }
    Atomics.store(words, SHARES, helpers + 1);
    return helpers;
  }

  /** Owner: starts a dispatch of tasks that have been written. */
  start(tasks: number): void {
    const words = this.#words;
    Atomics.store(words, TASK_COUNT, tasks);
    Atomics.store(words, BUSY, Atomics.load(words, SHARES) - 1);
    Atomics.add(words, DISPATCH, 1);
    Atomics.notify(words, DISPATCH);
  }

  /** Owner: waits until every thread has done its share. */
  finish(milliseconds: number): boolean {
    for (;;) {
      const busy = Atomics.load(this.#words, BUSY);
      if (busy === 0) return true;
      if (Atomics.wait(this.#words, BUSY, busy, milliseconds) === 'timed-out') return false;
    }
  }

  /** Owner: the largest value that any thread saw in the last dispatch. */
  largest(): number {
    const words = this.#words;
    let max = 0;
    for (let thread = 1; thread < MAX_THREADS; thread++)
      if (Atomics.load(words, STATUS + thread) === ADMITTED) max = Math.max(max, this.#floats[MAX + thread]!);
    return max;
  }

  stop(): void {
    Atomics.store(this.#words, STOPPED, 1);
    Atomics.add(this.#words, DISPATCH, 1);
    Atomics.notify(this.#words, DISPATCH);
  }

  /** Thread: takes part in dispatches until the pool stops. */
  serve(thread: number, run: (tasks: number, share: number, shares: number) => number): void {
    const words = this.#words;
    let seen = Atomics.load(words, DISPATCH);
    let admitted = false;
    // Only after `seen`, lest the first dispatch that counts on this thread go unnoticed.
    Atomics.store(words, STATUS + thread, READY);
    while (Atomics.load(words, STOPPED) === 0) {
      Atomics.wait(words, DISPATCH, seen);
      const now = Atomics.load(words, DISPATCH);
      if (now === seen || Atomics.load(words, STOPPED) !== 0) continue;
      seen = now;
      // The owner may admit this thread for the next dispatch while it still looks at the last one.
      admitted ||=
        Atomics.load(words, STATUS + thread) === ADMITTED && now >= Atomics.load(words, FROM + thread);
      if (!admitted) continue;
      const share = Atomics.load(words, SHARE + thread);
      this.#floats[MAX + thread] = run(Atomics.load(words, TASK_COUNT), share, Atomics.load(words, SHARES));
      if (Atomics.sub(words, BUSY, 1) === 1) Atomics.notify(words, BUSY);
    }
  }
}
