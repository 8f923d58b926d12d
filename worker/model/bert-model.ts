import { BERT_MATRICES, type BertConfig, buildBertGraph, GAP_HEAD } from './bert.ts';
import type { Matrix, Model } from './family.ts';
import { fittingWeights } from './shapes.ts';
import type { TensorView, Weights } from './tensor.ts';

/** Prefix under which Hugging Face's classes with a head store the encoder's weights. */
const PREFIX = /^bert\./;
const HEADS = /^(cls|classifier)\./;

/** A weight's plain name; the oldest files have the names that TensorFlow gave the norms. */
function plainName(stored: string): string {
  return stored
    .replace(PREFIX, '')
    .replace(/LayerNorm\.gamma$/, 'LayerNorm.weight')
    .replace(/LayerNorm\.beta$/, 'LayerNorm.bias');
}

/** The weights as a file has them: readers take plain names beside a head for a broken file. */
function storedNames(weights: Weights): Weights {
  if (![...weights.keys()].some((name) => name.startsWith('cls.'))) return weights;
  return new Map([...weights].map(([name, view]) => [HEADS.test(name) ? name : `bert.${name}`, view]));
}

/** Shape of a layer's matrix, [out, in]. */
function matrixDims(config: BertConfig, kind: keyof typeof BERT_MATRICES): [number, number] {
  if (kind === 'up') return [config.intermediate, config.hidden];
  if (kind === 'down') return [config.hidden, config.intermediate];
  return [config.hidden, config.hidden];
}

/** Every weight matrix, by layer, then query, key, value, output, up, down. */
export function bertMatrices(config: BertConfig): Matrix[] {
  const kinds = Object.keys(BERT_MATRICES) as (keyof typeof BERT_MATRICES)[];
  return Array.from({ length: config.layers }, (_, layer) =>
    kinds.map((kind) => {
      const [out, width] = matrixDims(config, kind);
      return { name: `encoder.layer.${layer}.${BERT_MATRICES[kind]}`, layer, kind, out, in: width };
    }),
  ).flat();
}

/** Names and shapes of all weights that the graph reads. */
export function bertShapes(config: BertConfig): Map<string, readonly number[]> {
  const { hidden } = config;
  const norm = (at: string): [string, number[]][] => [
    [`${at}.weight`, [hidden]],
    [`${at}.bias`, [hidden]],
  ];
  const shapes = new Map<string, readonly number[]>([
    ['embeddings.word_embeddings.weight', [config.vocabulary, hidden]],
    ['embeddings.position_embeddings.weight', [config.positions, hidden]],
    ['embeddings.token_type_embeddings.weight', [config.types, hidden]],
    ...norm('embeddings.LayerNorm'),
  ]);
  for (const matrix of bertMatrices(config)) {
    shapes.set(`${matrix.name}.weight`, [matrix.out, matrix.in]);
    shapes.set(`${matrix.name}.bias`, [matrix.out]);
  }
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `encoder.layer.${layer}`;
    for (const name of ['attention.output.LayerNorm', 'output.LayerNorm']) {
      for (const [key, dims] of norm(`${at}.${name}`)) shapes.set(key, dims);
    }
  }
  return shapes;
}

/** Of the head that fills gaps, where the file has one. */
export function gapShapes({ hidden, vocabulary }: BertConfig): Map<string, readonly number[]> {
  const at = `${GAP_HEAD}.transform`;
  return new Map([
    [`${at}.dense.weight`, [hidden, hidden]],
    [`${at}.dense.bias`, [hidden]],
    [`${at}.LayerNorm.weight`, [hidden]],
    [`${at}.LayerNorm.bias`, [hidden]],
    [`${GAP_HEAD}.bias`, [vocabulary]],
  ]);
}

/**
 * The weights by their plain names, checked against the configuration.
 * @throws {OnebyteError} MODEL_TENSOR_MISSING, MODEL_CONFIG_INVALID
 */
export function bertWeights(config: BertConfig, stored: ReadonlyMap<string, TensorView>): Weights {
  const weights = new Map([...stored].map(([name, view]) => [plainName(name), view]));
  const shapes = bertShapes(config);
  if (weights.has(`${GAP_HEAD}.bias`)) for (const [name, dims] of gapShapes(config)) shapes.set(name, dims);
  return fittingWeights(shapes, weights);
}

/** Opens a BERT encoder over the tensors of its weights file. */
export function bertModel(config: BertConfig, stored: ReadonlyMap<string, TensorView>): Model {
  const weights = bertWeights(config, stored);
  return {
    family: 'bert',
    layers: config.layers,
    hidden: config.hidden,
    vocabulary: config.vocabulary,
    maxTokens: config.positions,
    generates: false,
    fillsGaps: weights.has(`${GAP_HEAD}.bias`),
    weights,
    matrices: bertMatrices(config),
    graph: (options) => buildBertGraph(config, { weights, hidden: config.hidden, ...options }),
    withWeights: (changed) => new Map([...weights, ...changed]),
    storedNames,
  };
}
