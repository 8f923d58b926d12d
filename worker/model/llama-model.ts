import type { Matrix, Model } from './family.ts';
import { buildLlamaGraph, EMBEDDINGS, HEAD, LLAMA_MATRICES, tokenMatrix } from './llama.ts';
import type { LlamaConfig } from './llama-config.ts';
import { fittingWeights } from './shapes.ts';
import type { TensorView } from './tensor.ts';

type Kind = keyof typeof LLAMA_MATRICES;

/** Shape of a layer's matrix, [out, in]. */
function matrixDims(config: LlamaConfig, kind: Kind): [number, number] {
  const { hidden, intermediate, headWidth } = config;
  switch (kind) {
    case 'query':
      return [config.heads * headWidth, hidden];
    case 'key':
    case 'value':
      return [config.kvHeads * headWidth, hidden];
    case 'output':
      return [hidden, config.heads * headWidth];
    case 'gate':
    case 'up':
      return [intermediate, hidden];
    case 'down':
      return [hidden, intermediate];
  }
}

/** Every weight matrix, by layer, then query, key, value, output, gate, up, down. */
export function llamaMatrices(config: LlamaConfig): Matrix[] {
  const kinds = Object.keys(LLAMA_MATRICES) as Kind[];
  return Array.from({ length: config.layers }, (_, layer) =>
    kinds.map((kind) => {
      const [out, width] = matrixDims(config, kind);
      return { name: `model.layers.${layer}.${LLAMA_MATRICES[kind]}`, layer, kind, out, in: width };
    }),
  ).flat();
}

/** Names and shapes of all weights that the graph reads. */
export function llamaShapes(config: LlamaConfig): Map<string, readonly number[]> {
  const { hidden, vocabulary, headWidth } = config;
  const shapes = new Map<string, readonly number[]>([[`${EMBEDDINGS}.weight`, [vocabulary, hidden]]]);
  for (const { name, kind, out, in: width } of llamaMatrices(config)) {
    shapes.set(`${name}.weight`, [out, width]);
    const isInput = kind === 'query' || kind === 'key' || kind === 'value';
    if ((isInput && config.qkvBias) || (kind === 'output' && config.outputBias))
      shapes.set(`${name}.bias`, [out]);
  }
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    shapes.set(`${at}.input_layernorm.weight`, [hidden]);
    shapes.set(`${at}.post_attention_layernorm.weight`, [hidden]);
    if (!config.qkNorm) continue;
    shapes.set(`${at}.self_attn.q_norm.weight`, [headWidth]);
    shapes.set(`${at}.self_attn.k_norm.weight`, [headWidth]);
  }
  shapes.set('model.norm.weight', [hidden]);
  shapes.set(`${tokenMatrix(config)}.weight`, [vocabulary, hidden]);
  return shapes;
}

/**
 * Opens a model of the Llama family over the tensors of its weights files.
 * @throws {OnebyteError} MODEL_TENSOR_MISSING, MODEL_CONFIG_INVALID
 */
export function llamaModel(config: LlamaConfig, stored: ReadonlyMap<string, TensorView>): Model {
  const read = new Map(stored);
  // Some files hold the embeddings a second time as the head that they are: nothing trains that copy, and other programs
  // would use it.
  if (config.tied) read.delete(`${HEAD}.weight`);
  const weights = fittingWeights(llamaShapes(config), read);
  return {
    family: 'llama',
    layers: config.layers,
    hidden: config.hidden,
    vocabulary: config.vocabulary,
    maxTokens: config.positions,
    generates: true,
    fillsGaps: false,
    weights,
    matrices: llamaMatrices(config),
    tokenWeights: { embeddings: `${EMBEDDINGS}.weight`, scores: `${tokenMatrix(config)}.weight` },
    graph: (options) => buildLlamaGraph(config, { weights, hidden: config.hidden, ...options }),
    withWeights: (changed) => new Map([...weights, ...changed]),
  };
}
