import type { TensorView, Weights } from './tensor.ts';

export type Dtype = 'float32' | 'int32' | 'int64' | 'int8' | 'uint8';

/**
 * One input or output of a graph. A string in `dims` is a dimension chosen at run time: `examples`, `tokens`,
 * `probes`.
 */
export interface Port {
  readonly name: string;
  readonly dims: readonly (number | string)[];
  readonly dtype: Dtype;
}

/** An ONNX model, ready for `InferenceSession.create(graph.bytes, { externalData: graph.external, ... })`. */
export interface BuiltGraph {
  /** The protobuf. Small: large initializers are in `external`, by reference and not copied. */
  readonly bytes: Uint8Array;
  /** Memory that the initializers lie in; pass as the session option `externalData`. */
  readonly external: readonly { readonly path: string; readonly data: Uint8Array }[];
  /** Folder of the files that frozen weights stay in, mapped by the runtime; absent: all are in memory. */
  readonly folder?: string;
  /**
   * What the session may do with those weights. `mapped`: they are large and stay there, for all processes of the
   * machine. `narrow`: they may be packed, which copies them as they are, and not widened. `as is`: anything.
   */
  readonly leave?: 'mapped' | 'narrow' | 'as is';
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Names of the weights that are frozen in the session. */
  readonly initializers: readonly string[];
}

/**
 * Where the graph starts.
 * - `ids`: inputs `input_ids` int32 [examples, tokens] and `attention_mask` int32 [examples, tokens] (1: a token).
 * - k: inputs `hidden` [examples, tokens, hidden], the input of layer k (0: the embeddings' output), and
 *   `attention_mask`.
 * - `pooled`: input `pooled` [examples, hidden]; only the head is left.
 */
export type GraphFrom = 'ids' | number | 'pooled';

/**
 * Where the graph ends.
 * - `{ layer: k }`: output `hidden_out` [examples, tokens, hidden], the input of layer k (k = layers: the last hidden
 *   state).
 * - `pooled`: output `pooled` [examples, hidden], mean over the unmasked tokens, or the first token.
 * - `logits`: output `logits` [probes, examples, labels]; [examples, labels] where nothing has a probes axis.
 * - `loss`: input `labels` int32 [examples]; outputs `loss` (cross-entropy, nats), `correct` (1 or 0) and `best` (the
 *   label of the largest score), float32 [probes, examples]. Of tokens: other inputs, sums over an example's tokens,
 *   and no `best`.
 * - `scored`: of tokens only, the rows that are multiplied with the matrix of tokens: output `scored` [probes, scored,
 *   hidden], input `positions` as for the loss.
 *
 * Where adapters stand before the end, the first two get a leading `probes` axis too.
 */
export type GraphTo = { readonly layer: number } | 'pooled' | 'scored' | 'logits' | 'loss';

/** A trained low-rank part of some matrices. All matrices of one graph share the rank and the probes axis. */
export type Adapters =
  | {
      /** W + C V. Input `M.C` [probes, out, rank]; V [rank, in] is frozen in the session. */
      readonly type: 'subspace';
      readonly rank: number;
      /** V of every adapted matrix M. Matrices with the same input (query, key, value) share work if they share V. */
      readonly bases: ReadonlyMap<string, TensorView>;
    }
  | {
      /** W + (alpha / rank) B A. Inputs `M.A` [probes, rank, in] and `M.B` [probes, out, rank]. */
      readonly type: 'lora';
      readonly rank: number;
      readonly alpha: number;
      readonly matrices: readonly string[];
    };

/** What every family's graph builder takes. Matrices and weights are named as in the model folder. */
export interface GraphOptions {
  readonly weights: Weights;
  /** Width of the hidden state. */
  readonly hidden: number;
  readonly from: GraphFrom;
  readonly to: GraphTo;
  readonly pooling: 'mean' | 'cls';
  /**
   * What `logits` and `loss` are of.
   * - `head` (default): a linear head on the pooled features, one score for each label.
   * - `words`: one token of the vocabulary for each label, as what follows the row that the input `positions` int32
   *   [examples] names (an index of examples * tokens).
   * - `tokens`: chosen tokens of the text itself, see `tokenLoss`.
   */
  readonly end?: 'head' | 'words' | 'tokens';
  /** Most tokens of a text that the graph is fed; by default what the model can. Tables of positions are as long. */
  readonly longest?: number;
  /** Labels of the head, or words; needed for `logits` and `loss`, except of `tokens`. */
  readonly labels?: number;
  /** `words`: token ids, by label. */
  readonly words?: readonly number[];
  /**
   * A head frozen in the session. Without it, and where `to` needs one, it is two inputs: `head.weight`
   * [probes, labels, hidden] and `head.bias` [probes, labels].
   */
  readonly head?: { readonly weight: TensorView; readonly bias: TensorView };
  /**
   * Names of weights that are inputs instead of initializers. They keep name, dims and order of the model folder:
   * [out, in] for a matrix (ONNX Runtime multiplies by the transposed as fast, so nothing is stored transposed).
   */
  readonly inputs?: ReadonlySet<string>;
  readonly adapters?: Adapters;
  /**
   * Matrices M whose inputs' second moment is an output: `M.moment` [in, in], X^T X summed over the unmasked tokens
   * of the batch. Query, key and value of a layer have the same.
   */
  readonly moments?: readonly string[];
  /**
   * For a file that other tools open: weights inside the protobuf, ids and mask int64 as those tools expect.
   */
  readonly standalone?: boolean;
}

/**
 * Rows (probes * examples) that one call should hold on a CPU: larger calls leave the cache, smaller ones leave
 * cores waiting. From `bench/graph.ts`; two or four probes a call beat one.
 */
export const ROWS_PER_CALL = 32;

/** Rows are fed once: [examples, ...]. The graph itself spreads them over the probes, as late as it can. */
export type GraphBuilder = (options: GraphOptions) => BuiltGraph;
