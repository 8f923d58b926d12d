import type { Stored } from './stored.ts';

/** A weight, row-major. `data.length` is the product of `dims`. */
export interface TensorView {
  readonly dims: readonly number[];
  /** Where the weight is left in a file (`stored`), it is read each time that it is asked for: do not ask in a loop. */
  readonly data: Float32Array;
  /** Where a file has the weight as the runtime can use it; it then maps the file, and nothing is read. */
  readonly stored?: Stored;
}

/** Weights by their Hugging Face name, without the family's prefix: `encoder.layer.0.output.dense.weight`. */
export type Weights = ReadonlyMap<string, TensorView>;

/** Number of weights. */
export function sizeOf({ dims }: { readonly dims: readonly number[] }): number {
  return dims.reduce((a, b) => a * b, 1);
}
