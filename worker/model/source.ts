import { type Place, storedView } from './stored.ts';
import { sizeOf, type TensorView } from './tensor.ts';

/** A tensor as its file has it, by the name that Hugging Face gives it (`model.layers.0.self_attn.q_proj.weight`). */
export interface StoredTensor {
  readonly name: string;
  /** Row-major, the slowest first: [out, in] for a matrix, whatever order the format writes them in. */
  readonly dims: readonly number[];
  /** The format's own word: F32, BF16, Q4_0. */
  readonly dtype: string;
  /** Where its numbers lie, row-major, if they can be used from there: F32, F16 or BF16. */
  readonly place?: Place;
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

/** Leaves the matrices of a source in its files, for the runtime to map; vectors are read into memory. */
export async function mapWeights(
  source: WeightSource,
): Promise<{ readonly weights: Map<string, TensorView>; readonly digest: string }> {
  const weights = new Map<string, TensorView>();
  for (const { name, dims, dtype, place } of source.tensors.values()) {
    if (dims.length < 2 || place === undefined) continue;
    weights.set(name, storedView(dims, { type: dtype as 'F32' | 'F16' | 'BF16', at: place }));
  }
  const digest = await source.load((tensor) => {
    if (weights.has(tensor.name)) return undefined;
    const data = new Float32Array(sizeOf(tensor));
    weights.set(tensor.name, { dims: tensor.dims, data });
    return data;
  });
  return { weights, digest };
}
