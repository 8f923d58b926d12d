import type { Contributions } from './contribution.ts';
import { GROUP, type PlacedTensor } from './layout.ts';
import { MAX_ROWS, ROW_BYTES, ROWS } from './memory.ts';
import type { Task } from './task.ts';

/** Contributions to be added (factor 1) or taken back (-1). */
export interface Part extends Contributions {
  readonly factor: 1 | -1;
}

const ROW_WORDS = ROW_BYTES / 4;

/** The rows that kernels read: for each a seed, and a coefficient that is already multiplied by the quantum, or whole. */
export class Rows {
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;

  constructor(memory: WebAssembly.Memory) {
    this.#words = new Uint32Array(memory.buffer, ROWS, MAX_ROWS * ROW_WORDS);
    this.#floats = new Float32Array(memory.buffer, ROWS, MAX_ROWS * ROW_WORDS);
  }

  #writeSeed(row: number, seeds: Uint32Array, at: number): void {
    for (let i = 0; i < 4; i++) this.#words[row * ROW_WORDS + i] = seeds[at + i]!;
  }

  /** Row 0: one direction. */
  writeOne(seed: Uint32Array, coefficient: number): void {
    this.#writeSeed(0, seed, 0);
    this.#floats[4] = coefficient;
  }

  /** Rows 0..count-1: rows from..from+count-1 of one column of a pool, with whole coefficients. */
  writeWhole(pool: Contributions, column: number, from: number, count: number): void {
    for (let i = 0; i < count; i++) {
      this.#writeSeed(i, pool.seeds, 4 * (from + i));
      this.#words[i * ROW_WORDS + 4] = pool.coefficients[(from + i) * pool.tensors.length + column]!;
    }
  }

  /**
   * Writes rows tensor by tensor, and hands over tasks that add them: usually once, more often where the rows do not
   * fit at a time.
   */
  addAll(
    parts: readonly Part[],
    tensors: readonly PlacedTensor[],
    quantum: (index: number) => number,
    run: (tasks: readonly Task[]) => void,
  ): void {
    let tasks: Task[] = [];
    let used = 0;
    for (const index of new Set(parts.flatMap((part) => part.tensors))) {
      const { offset, padded } = tensors[index]!;
      let start = used;
      const close = (): void => {
        if (used === start) return;
        const rows = ROWS + start * ROW_BYTES;
        tasks.push({
          operation: 'addRows',
          to: offset,
          groups: padded / GROUP,
          tensor: index,
          rows,
          count: used - start,
        });
      };
      for (const { factor, count, seeds, coefficients, tensors: columns } of parts) {
        const column = columns.indexOf(index);
        if (column < 0) continue;
        const amount = factor * quantum(index);
        for (let k = 0; k < count; k++) {
          const coefficient = coefficients[k * columns.length + column]!;
          if (coefficient === 0) continue;
          if (used === MAX_ROWS) {
            close();
            run(tasks);
            tasks = [];
            start = used = 0;
          }
          this.#writeSeed(used, seeds, 4 * k);
          this.#floats[used * ROW_WORDS + 4] = coefficient * amount;
          used++;
        }
      }
      close();
    }
    run(tasks);
  }
}
