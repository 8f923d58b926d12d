import { Worker } from 'node:worker_threads';
import { OnebyteError } from '../errors.ts';
import { programUrl } from '../programs.ts';
import { Control, type GridThread } from './control.ts';
import { MAX_TASKS, MAX_THREADS } from './memory.ts';
import { type Runner, type Task, TaskList, work } from './task.ts';

/** Group-rows below which waking threads costs more than it saves (each takes about 0.1 microseconds). */
const SMALLEST = 1024;
/** The same for starting them, once: a thread takes 5 MiB, and of fewer group-rows than these it would save a millisecond. */
export const WORTH_STARTING = 1 << 15;
/** Nobody needs this long for one dispatch; a thread that does has died. */
const PATIENCE_MS = 60_000;

/**
 * Runs tasks on several threads over one memory: this one and `threads - 1` others, which start with the first dispatch
 * that is large enough. Any number gives the same bits.
 */
export class ThreadPool {
  readonly #control: Control;
  readonly #tasks: TaskList;
  readonly #workers: Worker[] = [];
  readonly #runner: Runner;
  readonly #memory: WebAssembly.Memory;
  readonly #worth: number;
  /** Threads that are still to be started. */
  #waiting: number;

  /** @param runner this thread's own @param worth group-rows of a dispatch that the others are started for */
  constructor(memory: WebAssembly.Memory, threads: number, runner: Runner, worth: number) {
    if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS)
      throw new OnebyteError('INTERNAL', `${threads} threads, at most ${MAX_THREADS}`);
    this.#control = new Control(memory);
    this.#tasks = new TaskList(memory);
    this.#runner = runner;
    this.#memory = memory;
    this.#worth = worth;
    this.#waiting = threads - 1;
  }

  /** Threads that would share a dispatch now, the caller's included. */
  get threads(): number {
    return this.#control.admit() + 1;
  }

  /** Blocks until all tasks are done. Threads that have not started yet are not waited for. */
  run(tasks: readonly Task[]): number {
    let max = 0;
    for (let at = 0; at < tasks.length; at += MAX_TASKS)
      max = Math.max(max, this.#dispatch(tasks.slice(at, at + MAX_TASKS)));
    return max;
  }

  #dispatch(tasks: readonly Task[]): number {
    const control = this.#control;
    const rows = tasks.reduce((sum, task) => sum + work(task), 0);
    if (rows >= this.#worth) this.#start();
    const helpers = rows < SMALLEST ? 0 : control.admit();
    if (helpers === 0) return this.#runner.run(tasks, 0, 1);
    this.#tasks.write(tasks);
    control.start(tasks.length);
    const max = this.#runner.run(tasks, 0, helpers + 1);
    if (!control.finish(PATIENCE_MS)) throw new OnebyteError('INTERNAL', 'a thread of the state has died');
    return Math.max(max, control.largest());
  }

  #start(): void {
    for (; this.#waiting > 0; this.#waiting--) {
      const workerData: GridThread = { memory: this.#memory, thread: this.#waiting };
      const worker = new Worker(programUrl('grid-thread'), { workerData });
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** Ends the threads; the pool then runs everything on the caller's. */
  async close(): Promise<void> {
    this.#control.stop();
    this.#waiting = 0;
    await Promise.all(this.#workers.splice(0).map((worker) => worker.terminate()));
  }
}
