import type { BuiltGraph, GraphOptions } from './graph.ts';
import type { TensorView, Weights } from './tensor.ts';

/** One weight matrix of a layer. */
export interface Matrix {
  /** The module's name, `encoder.layer.4.attention.self.query`; its weight is `${name}.weight`, [out, in]. */
  readonly name: string;
  readonly layer: number;
  /** Short name as jobs use it: query, key, value, output, gate, up, down. */
  readonly kind: string;
  readonly out: number;
  readonly in: number;
}

/** A model of a known family, opened: all that the engine asks of it, whatever the family. */
export interface Model {
  readonly family: string;
  readonly layers: number;
  /** Width of the hidden state. */
  readonly hidden: number;
  readonly vocabulary: number;
  /** Longest input, in tokens. */
  readonly maxTokens: number;
  /** Whether each token is predicted from those before it (a decoder), so that text can be its own target. */
  readonly generates: boolean;
  /** Whether it predicts hidden tokens (an encoder with the head of its pre-training). */
  readonly fillsGaps: boolean;
  /** Its graph starts at the ids or at pooled features, and at no layer between. */
  readonly uncut?: boolean;
  /** A decoder's matrices [vocabulary, hidden], which may be one: of the tokens read, and of the scores. */
  readonly tokenWeights?: { readonly embeddings: string; readonly scores: string };
  readonly weights: Weights;
  /** Every weight matrix of the layers, in a fixed order: by layer, then query, key, value, output, gate, up, down. */
  readonly matrices: readonly Matrix[];
  /** Builds a graph over these weights, or over `options.weights` where some were replaced (a merge). */
  graph(options: Omit<GraphOptions, 'weights' | 'hidden'> & { readonly weights?: Weights }): BuiltGraph;
  /** Plain copy of the weights with some replaced. */
  withWeights(changed: ReadonlyMap<string, TensorView>): Weights;
  /** Weights by the names that they have in a file; absent: by those that they have here. */
  storedNames?(weights: Weights): Weights;
}
