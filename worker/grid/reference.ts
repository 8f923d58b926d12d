import { addDirection } from '../direction/rademacher.ts';
import type { Contributions } from './contribution.ts';
import { Grid } from './grid.ts';
import { type PlacedTensor, place, type TensorSpec } from './layout.ts';
import { roundHalfEven } from './quantum.ts';

/** A store in plain TypeScript: what `State` must equal, and what needs no WebAssembly. */
export class ReferenceStore extends Grid {
  readonly #values: readonly Float32Array[];

  constructor(specs: readonly TensorSpec[]) {
    const tensors: readonly PlacedTensor[] = place(specs);
    super(tensors);
    this.#values = tensors.map((t) => new Float32Array(t.size));
  }

  override view(index: number): Float32Array {
    return this.#values[index]!;
  }

  protected override largest(index: number): number {
    return this.view(index).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  }

  protected override roundTo(index: number, quantum: number): void {
    const view = this.view(index);
    for (let i = 0; i < view.length; i++) view[i] = roundHalfEven(view[i]! / quantum) * quantum;
  }

  protected override apply(c: Contributions): void {
    for (let row = 0; row < c.count; row++) {
      const seed = c.seeds.subarray(4 * row, 4 * row + 4);
      c.tensors.forEach((index, column) => {
        const coefficient = c.coefficients[row * c.tensors.length + column]!;
        addDirection(this.view(index), index, seed, coefficient * this.quantum(index));
      });
    }
  }

  protected override assertCommitted(): void {}
}
