/** A weight as it lies in memory, row-major. `data.length` is the product of `dims`. */
export interface TensorView {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

/** Weights by their Hugging Face name, without the family's prefix: `encoder.layer.0.output.dense.weight`. */
export type Weights = ReadonlyMap<string, TensorView>;
