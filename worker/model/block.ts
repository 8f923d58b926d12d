import { OnebyteError } from '../errors.ts';
import type { GraphOptions } from './graph.ts';
import type { OnnxWriter } from './onnx.ts';
import {
  type Once,
  type StoredWeight,
  someRows,
  storedProduct,
  storedRows,
  storedWhole,
  TRANSPOSED,
  tileRows,
} from './stored-graph.ts';
import type { TensorView } from './tensor.ts';

/**
 * A value of shape [groups, rows, width], rows = examples * tokens, example by example. One group serves all probes
 * until the first operator that differs between probes (`spread`); from there on there is a group for each probe.
 */
export interface Hidden {
  readonly name: string;
  readonly spread: boolean;
}

/**
 * The pieces that every family's layers are made of: weights that are frozen or inputs, matrices with adapters, the
 * probes axis, second moments. Values keep the shape of `Hidden`, so that one adapter's rows are one matrix product.
 */
export class BlockWriter {
  readonly onnx: OnnxWriter;
  readonly #options: GraphOptions;
  readonly #made = new Map<string, string>();
  readonly #adapted: ReadonlySet<string>;
  #probesOf: string | undefined;

  constructor(onnx: OnnxWriter, options: GraphOptions) {
    this.onnx = onnx;
    this.#options = options;
    const { adapters } = options;
    this.#adapted = new Set(adapters?.type === 'subspace' ? adapters.bases.keys() : adapters?.matrices);
  }

  /** A weight of the model, frozen in the session or an input, in the order it is stored. */
  weight(name: string): string {
    const stored = this.#stored(name);
    if (stored !== undefined) return this.once(`whole ${name}`, () => storedWhole(this.onnx, stored));
    const view = this.#view(name);
    if (this.#options.inputs?.has(name)) return this.onnx.input(name, 'float32', view.dims);
    return this.onnx.weight(name, view);
  }

  #view(name: string): TensorView {
    const view = this.#options.weights.get(name);
    if (view === undefined) {
      throw new OnebyteError('MODEL_TENSOR_MISSING', `the model has no tensor ${name}`, { field: name });
    }
    return view;
  }

  /** A weight that is used from the file that it is in. */
  #stored(name: string): StoredWeight | undefined {
    const { dims, stored } = this.#view(name);
    const here = this.#options.inputs?.has(name) || this.#options.standalone;
    return stored === undefined || here ? undefined : { name, dims, stored };
  }

  /** Number of probes, int64 [1]: the first dimension of the first trained input that the graph came to. */
  probes(): string {
    const source = this.#probesOf;
    if (source === undefined) throw new OnebyteError('INTERNAL', 'nothing in the graph has a probes axis');
    return this.once('probes', () =>
      this.onnx.node('Shape', [source], { attributes: { start: 0, end: 1 }, outputs: ['probes'] }),
    );
  }

  /** x W^T, and the adapter's part where the matrix M has one; no bias. x: [groups, rows, in]. */
  linear(matrix: string, x: Hidden): Hidden {
    const { onnx } = this;
    this.#moment(matrix, x);
    const base = this.project(`${matrix}.weight`, x.name);
    if (!this.#adapted.has(matrix)) return { name: base, spread: x.spread };
    const [last] = this.#trained(matrix);
    this.#probesOf ??= last;
    const adapters = this.#options.adapters!;
    const scale = adapters.type === 'lora' ? adapters.alpha / adapters.rank : 1;
    const delta = onnx.node('FusedMatMul', [this.#narrow(matrix, x), last], scaled(scale));
    return { name: onnx.node('Add', [delta, base]), spread: true };
  }

  /** x W^T alone, W [out, in] frozen or an input. */
  project(weight: string, x: string): string {
    const stored = this.#stored(weight);
    if (stored !== undefined) return storedProduct(this.onnx, stored, x, this.once);
    return this.onnx.node('FusedMatMul', [x, this.weight(weight)], TRANSPOSED);
  }

  /**
   * The same in parts, one for some of W's rows each, so that none is as wide as W is long; an input is not cut.
   * @param bias of W's rows
   * @returns each part's first row, and what is written when the part is asked for
   */
  tiles(
    weight: string,
    x: string,
    bias?: string,
  ): { readonly from: number; readonly project: () => string }[] {
    const [out, width] = this.#view(weight).dims as [number, number];
    const whole = [weight, bias].some((name) => name !== undefined && this.#options.inputs?.has(name));
    const bounds = whole ? [0, out] : tileRows([out, width]);
    return bounds.slice(1).map((to, i) => {
      const from = bounds[i]!;
      const project = () => {
        const product = whole ? this.project(weight, x) : this.#someProduct(weight, x, from, to);
        if (bias === undefined) return product;
        const shift = whole ? this.weight(bias) : this.#some(bias, from, to);
        return this.onnx.node('Add', [product, shift]);
      };
      return { from, project };
    });
  }

  #someProduct(weight: string, x: string, from: number, to: number): string {
    const stored = this.#stored(weight);
    if (stored !== undefined) return storedProduct(this.onnx, someRows(stored, from, to), x, this.once);
    return this.onnx.node('FusedMatMul', [x, this.#some(weight, from, to)], TRANSPOSED);
  }

  /** Rows of a weight in memory, as one of their own. */
  #some(weight: string, from: number, to: number): string {
    const { dims, data } = this.#view(weight);
    const row = data.length / dims[0]!;
    const part = { dims: [to - from, ...dims.slice(1)], data: data.subarray(from * row, to * row) };
    return this.onnx.weight(`${weight}.${from}`, part);
  }

  /** Some rows of a weight [rows, width]: an embedding. `ids` may have any shape. */
  rows(weight: string, ids: string): string {
    const stored = this.#stored(weight);
    if (stored !== undefined) return storedRows(this.onnx, stored, ids);
    return this.onnx.node('Gather', [this.weight(weight), ids]);
  }

  /** The rows that the input `positions` int32 [count] names: [groups, rows, width] to [groups, count, width]. */
  rowsAt(x: Hidden, count: 'examples' | 'scored'): Hidden {
    const positions = this.onnx.input('positions', 'int32', [count]);
    const name = this.onnx.node('Gather', [x.name, positions], { attributes: { axis: 1 } });
    return { name, spread: x.spread };
  }

  /** The same value once for each probe. */
  spread(x: Hidden): Hidden {
    if (x.spread) return x;
    const shape = this.join(this.probes(), this.onnx.ints(1, 1));
    return { name: this.onnx.node('Expand', [x.name, shape]), spread: true };
  }

  /** int64 [1], `[groups]` of a value. */
  groups(x: Hidden): string {
    return x.spread ? this.probes() : this.onnx.ints(1);
  }

  /** A reshape; the parts of the shape are int64 [1] values, joined. */
  reshape(x: string, ...shape: string[]): string {
    return this.onnx.node('Reshape', [x, this.join(...shape)]);
  }

  /** Joins int64 [1] values into one shape; the same one is computed once. */
  join(...shape: string[]): string {
    const name = `shape_${shape.join('_')}`;
    return this.once(name, () =>
      this.onnx.node('Concat', shape, { attributes: { axis: 0 }, outputs: [name] }),
    );
  }

  /** Head weight and bias, with a leading probes axis unless they are frozen. */
  headWeight(): { readonly name: string; readonly frozen: boolean } {
    const { head } = this.#options;
    const { labels, hidden } = this.#headDims();
    if (head !== undefined) return { name: this.onnx.weight('head.weight', head.weight), frozen: true };
    const name = this.onnx.input('head.weight', 'float32', ['probes', labels, hidden]);
    this.#probesOf ??= name;
    return { name, frozen: false };
  }

  /** [probes, 1, labels], or [labels] when it is frozen. */
  headBias(): string {
    const { head } = this.#options;
    if (head !== undefined) return this.onnx.weight('head.bias', head.bias);
    const bias = this.onnx.input('head.bias', 'float32', ['probes', this.#headDims().labels]);
    return this.onnx.node('Unsqueeze', [bias, this.onnx.ints(1)]);
  }

  #headDims(): { labels: number; hidden: number } {
    const { labels, hidden } = this.#options;
    if (labels === undefined) throw new OnebyteError('INTERNAL', 'a graph with a head needs `labels`');
    return { labels, hidden };
  }

  /** x V^T or x A^T: [groups, rows, rank]. Matrices with the same x and the same V share it. */
  #narrow(matrix: string, x: Hidden): string {
    const adapters = this.#options.adapters!;
    if (adapters.type === 'lora') {
      return this.onnx.node('FusedMatMul', [x.name, this.#trained(matrix)[1]!], TRANSPOSED);
    }
    const basis = adapters.bases.get(matrix)!;
    const same = [...adapters.bases].find(([, other]) => isSameMemory(other.data, basis.data))!;
    const name = `${same[0]}.V`;
    return this.once(`${x.name} ${name}`, () =>
      this.onnx.node('FusedMatMul', [x.name, this.onnx.weight(name, basis)], TRANSPOSED),
    );
  }

  /** Names of a matrix' trained inputs, the one next to the output first. */
  #trained(matrix: string): [string, string?] {
    const adapters = this.#options.adapters!;
    const view = this.#options.weights.get(`${matrix}.weight`);
    const [out, width] = view?.dims ?? [];
    if (out === undefined || width === undefined) {
      throw new OnebyteError('MODEL_TENSOR_MISSING', `the model has no matrix ${matrix}`, { field: matrix });
    }
    const { rank } = adapters;
    if (adapters.type === 'subspace') {
      return [this.onnx.input(`${matrix}.C`, 'float32', ['probes', out, rank])];
    }
    const a = this.onnx.input(`${matrix}.A`, 'float32', ['probes', rank, width]);
    return [this.onnx.input(`${matrix}.B`, 'float32', ['probes', out, rank]), a];
  }

  #moment(matrix: string, x: Hidden): void {
    if (!this.#options.moments?.includes(matrix)) return;
    const { onnx } = this;
    const width = this.#options.weights.get(`${matrix}.weight`)?.dims[1] ?? 0;
    const square = this.once(`${x.name} moment`, () => {
      const kept = onnx.node('Mul', [x.name, this.rowMask()]);
      return onnx.node('FusedMatMul', [kept, x.name], { contrib: true, attributes: { transA: 1 } });
    });
    const name = `${matrix}.moment`;
    onnx.node('ReduceSum', [square, onnx.ints(0)], { attributes: { keepdims: 0 }, outputs: [name] });
    onnx.output(name, 'float32', [width, width]);
  }

  /** The attention mask as float32 [1, rows, 1]. */
  rowMask(): string {
    return this.once('row_mask', () =>
      this.onnx.node('Reshape', [this.floatMask(), this.onnx.ints(1, -1, 1)], { outputs: ['row_mask'] }),
    );
  }

  /** The attention mask as float32 [examples, tokens]. */
  floatMask(): string {
    return this.once('float_mask', () =>
      this.onnx.node('Cast', [this.mask()], { attributes: { to: FLOAT }, outputs: ['float_mask'] }),
    );
  }

  /** int32 [examples, tokens]. */
  mask(): string {
    return this.integers('attention_mask');
  }

  /** An int32 input [examples, tokens]; int64 for others in a graph that stands alone. */
  integers(name: string): string {
    const dims = ['examples', 'tokens'];
    if (!this.#options.standalone) return this.onnx.input(name, 'int32', dims);
    return this.once(name, () => {
      const wide = this.onnx.input(name, 'int64', dims);
      return this.onnx.node('Cast', [wide], { attributes: { to: INT32 } });
    });
  }

  /** The mask once for each probe: int32 [groups * examples, tokens]. */
  spreadMask(spread: boolean): string {
    if (!spread) return this.mask();
    return this.once('mask_spread', () => {
      const shape = this.onnx.node('Concat', [this.probes(), this.onnx.node('Shape', [this.mask()])], {
        attributes: { axis: 0 },
      });
      const wide = this.onnx.node('Expand', [this.mask(), shape]);
      return this.reshape(wide, this.onnx.ints(-1), this.tokens());
    });
  }

  /** The number of tokens as int32, a scalar. */
  tokenCount(): string {
    return this.once('token_count_32', () => {
      const narrow = this.onnx.node('Cast', [this.tokens()], { attributes: { to: INT32 } });
      return this.onnx.node('Squeeze', [narrow]);
    });
  }

  /** int64 [1]. */
  tokens(): string {
    return this.once('token_count', () =>
      this.onnx.node('Shape', [this.mask()], { attributes: { start: 1, end: 2 }, outputs: ['token_count'] }),
    );
  }

  /** What `make` wrote the first time; its name is kept under `key`. */
  readonly once: Once = (key, make) => {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#made.set(key, made);
    return made;
  };
}

function isSameMemory(a: Float32Array, b: Float32Array): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length;
}

function scaled(alpha: number) {
  return { contrib: true, attributes: { transB: 1, alpha: { float: alpha } } } as const;
}

/** Numbers of TensorProto.DataType, as the operator Cast wants them. */
const FLOAT = 1;
const INT32 = 6;
