import { OnebyteError } from '../errors.ts';
import type { BertConfig } from './bert.ts';

const ACTIVATIONS: ReadonlyMap<unknown, BertConfig['activation']> = new Map([
  ['gelu', 'gelu'],
  ['gelu_new', 'gelu_new'],
  ['gelu_pytorch_tanh', 'gelu_new'],
  ['relu', 'relu'],
]);

export function invalid(field: string, message: string): never {
  throw new OnebyteError('MODEL_CONFIG_INVALID', `config.json: ${field} ${message}`, {
    field: `config.json:${field}`,
    remedy: 'use a model folder as Hugging Face publishes it',
  });
}

export function natural(config: Readonly<Record<string, unknown>>, field: string, fallback?: number): number {
  const value = config[field] ?? fallback;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > 1e9) {
    invalid(field, `must be a whole number from 1 on, not ${JSON.stringify(value)}`);
  }
  return value;
}

/**
 * Reads the `config.json` of the family `bert`.
 * @throws {OnebyteError} MODEL_CONFIG_INVALID
 */
export function readBertConfig(config: Readonly<Record<string, unknown>>): BertConfig {
  const activation = ACTIVATIONS.get(config.hidden_act ?? 'gelu');
  if (activation === undefined) {
    const known = [...ACTIVATIONS.keys()].join(', ');
    invalid('hidden_act', `is ${JSON.stringify(config.hidden_act)}; known: ${known}`);
  }
  const kind = config.position_embedding_type ?? 'absolute';
  if (kind !== 'absolute') invalid('position_embedding_type', `is ${JSON.stringify(kind)}; known: absolute`);
  const hidden = natural(config, 'hidden_size');
  const heads = natural(config, 'num_attention_heads');
  if (hidden % heads !== 0)
    invalid('hidden_size', `${hidden} is no multiple of num_attention_heads ${heads}`);
  const epsilon = config.layer_norm_eps ?? 1e-12;
  if (typeof epsilon !== 'number' || !(epsilon > 0 && epsilon < 1)) {
    invalid('layer_norm_eps', 'must lie between 0 and 1');
  }
  return {
    hidden,
    heads,
    epsilon,
    activation,
    layers: natural(config, 'num_hidden_layers'),
    intermediate: natural(config, 'intermediate_size'),
    vocabulary: natural(config, 'vocab_size'),
    positions: natural(config, 'max_position_embeddings', 512),
    types: natural(config, 'type_vocab_size', 2),
  };
}
