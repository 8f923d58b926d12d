import { KERNEL_WASM } from '../direction/kernel.wasm.gen.ts';
import { MAX_TASKS, STAGE_BYTES, STAGES, TASK_WORDS, TASKS } from './memory.ts';

/** What `worker/direction/kernel/index.ts` exports. Addresses and counts are in bytes and groups of 512 elements. */
interface Kernel {
  addRows(
    to: number,
    from: number,
    tensor: number,
    first: number,
    last: number,
    rows: number,
    count: number,
    stage: number,
  ): void;
  addIntegerRows(
    at: number,
    tensor: number,
    first: number,
    last: number,
    rows: number,
    count: number,
    stage: number,
  ): void;
  toIntegers(at: number, first: number, last: number, inverse: number): void;
  toFloats(at: number, first: number, last: number, quantum: number): void;
  largest(at: number, first: number, last: number): number;
  roundTo(at: number, first: number, last: number, inverse: number, quantum: number): void;
}

const OPERATIONS = ['addRows', 'addIntegerRows', 'toIntegers', 'toFloats', 'largest', 'roundTo'] as const;

/** One kernel over one tensor; any split of its groups over threads gives the same bits. */
export interface Task {
  readonly operation: (typeof OPERATIONS)[number];
  readonly to: number;
  readonly groups: number;
  /** addRows: where the values come from; default `to`. */
  readonly from?: number;
  readonly tensor?: number;
  readonly rows?: number;
  readonly count?: number;
  readonly quantum?: number;
}

/** The kernels of one thread over the shared memory. */
export class Runner {
  readonly #kernel: Kernel;
  readonly #stage: number;

  constructor(memory: WebAssembly.Memory, thread: number) {
    const module = new WebAssembly.Module(Buffer.from(KERNEL_WASM, 'base64'));
    this.#kernel = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernel;
    this.#stage = STAGES + thread * STAGE_BYTES;
  }

  /**
   * Runs share `share` of `shares` of the tasks.
   * @returns the largest value that a `largest` task saw; 0 without one
   */
  run(tasks: readonly Task[], share = 0, shares = 1): number {
    const total = tasks.reduce((sum, task) => sum + work(task), 0);
    const begin = Math.floor((total * share) / shares);
    const end = Math.floor((total * (share + 1)) / shares);
    let done = 0;
    let max = 0;
    for (const task of tasks) {
      const cost = work(task) / task.groups;
      const first = Math.min(task.groups, Math.max(0, Math.ceil((begin - done) / cost)));
      const last = Math.min(task.groups, Math.max(0, Math.ceil((end - done) / cost)));
      if (first < last) max = Math.max(max, this.#execute(task, first, last));
      done += work(task);
    }
    return max;
  }

  /** Runs one group of a task. */
  group(task: Task, group: number): void {
    this.#execute(task, group, group + 1);
  }

  #execute(task: Task, first: number, last: number): number {
    const { operation, to, from = to, tensor = 0, rows = 0, count = 0, quantum = 1 } = task;
    const kernel = this.#kernel;
    switch (operation) {
      case 'addRows':
        kernel.addRows(to, from, tensor, first, last, rows, count, this.#stage);
        return 0;
      case 'addIntegerRows':
        kernel.addIntegerRows(to, tensor, first, last, rows, count, this.#stage);
        return 0;
      case 'toIntegers':
        kernel.toIntegers(to, first, last, 1 / quantum);
        return 0;
      case 'toFloats':
        kernel.toFloats(to, first, last, quantum);
        return 0;
      case 'largest':
        return kernel.largest(to, first, last);
      case 'roundTo':
        kernel.roundTo(to, first, last, 1 / quantum, quantum);
        return 0;
    }
  }
}

/** How long a task takes, roughly: in group-rows, at least one a group. */
export function work(task: Task): number {
  return task.groups * Math.max(1, task.count ?? 0);
}

/** The tasks of one dispatch, in memory that the threads share. */
export class TaskList {
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;

  constructor(memory: WebAssembly.Memory) {
    this.#words = new Uint32Array(memory.buffer, TASKS, MAX_TASKS * TASK_WORDS);
    this.#floats = new Float32Array(memory.buffer, TASKS, MAX_TASKS * TASK_WORDS);
  }

  write(tasks: readonly Task[]): void {
    tasks.forEach((task, i) => {
      const { operation, to, groups, from = to, tensor = 0, rows = 0, count = 0, quantum = 1 } = task;
      this.#words.set([OPERATIONS.indexOf(operation), to, groups, from, tensor, rows, count], i * TASK_WORDS);
      this.#floats[i * TASK_WORDS + 7] = quantum;
    });
  }

  read(count: number): Task[] {
    return Array.from({ length: count }, (_, i) => {
      const [operation, to, groups, from, tensor, rows, rowCount] = this.#words.subarray(i * TASK_WORDS);
      return {
        operation: OPERATIONS[operation!]!,
        to: to!,
        groups: groups!,
        from: from!,
        tensor: tensor!,
        rows: rows!,
        count: rowCount!,
        quantum: this.#floats[i * TASK_WORDS + 7]!,
      };
    });
  }
}
