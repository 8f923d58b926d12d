import type { TensorView } from './tensor.ts';

/** A tensor as its file has it, by the name that Hugging Face gives it (`model.layers.0.self_attn.q_proj.weight`). */
export interface StoredTensor {
  readonly name: string;
  /** Row-major, the slowest first: [out, in] for a matrix, whatever order the format writes them in. */
  readonly dims: readonly number[];
  /** The format's own word: F32, BF16, Q4_0. */
  readonly dtype: string;
}

/**
 * Weights in files of some format. The header has been read and checked against the files' sizes; the weights have
 * not been read.
 */
export interface WeightSource {
  /** What is called wrong when something is: a file name. */
  readonly file: string;
  /** Tensors that can be read as fp32; those of whole numbers are left out. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /**
   * Reads the files once, from start to end.
   * @param place memory of a tensor, as many numbers as its dims say, filled with its weights widened exactly;
   *   undefined: this tensor is not wanted
   * @returns lower-case hex SHA-256 of the weights, as `model.sha256` of a job names them
   * @throws {OnebyteError} MODEL_FILE_INVALID
   */
  load(place: (tensor: StoredTensor) => Float32Array | undefined): Promise<string>;
}

/** Reads every tensor of a source into memory of its own, under a name that `rename` gives it. */
export async function loadWeights(
  source: WeightSource,
  rename: (name: string) => string = (name) => name,
): Promise<{ readonly weights: Map<string, TensorView>; readonly digest: string }> {
  const weights = new Map<string, TensorView>();
  const digest = await source.load(({ name, dims }) => {
    const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
    weights.set(rename(name), { dims, data });
    return data;
  });
  return { weights, digest };
}
