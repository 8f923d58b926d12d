import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BertConfig } from '../../worker/model/bert.ts';
import { bertShapes } from '../../worker/model/bert-model.ts';
import { writeSafetensors } from '../../worker/model/safetensors.ts';
import type { TensorView } from '../../worker/model/tensor.ts';

/** A BERT small enough to run in a millisecond. */
export const TINY: BertConfig = {
  hidden: 32,
  layers: 3,
  heads: 4,
  intermediate: 48,
  vocabulary: 40,
  positions: 24,
  types: 2,
  epsilon: 1e-12,
  activation: 'gelu',
};

/** Seeded numbers in [-scale, scale): a 32-bit mixing function (Steele et al. 2014) over a counter. */
export function random(length: number, seed: number, scale = 1): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    let x = (Math.imul(seed, 0x9e3779b9) + i * 0x85ebca6b) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return (((x ^ (x >>> 15)) >>> 0) / 2 ** 31 - 1) * scale;
  });
}

export function randomTensor(dims: readonly number[], seed: number, scale = 1): TensorView {
  return {
    dims,
    data: random(
      dims.reduce((a, b) => a * b, 1),
      seed,
      scale,
    ),
  };
}

/** Weights large enough that every part of the model matters to its output. */
export function tinyWeights(config = TINY): Map<string, TensorView> {
  let seed = 1;
  const weights = new Map<string, TensorView>();
  for (const [name, dims] of bertShapes(config)) {
    const isGain = name.endsWith('LayerNorm.weight');
    const view = randomTensor(dims, seed++, isGain ? 0.3 : 0.4);
    weights.set(name, isGain ? { dims, data: view.data.map((x) => 1 + x) } : view);
  }
  return weights;
}

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]'];
const WORDS = ['good', 'bad', 'a', 'film', 'was', 'it', '##ly', 'not', 'very', 'the'];

export function tinyTokenizer(): object {
  const vocab = Object.fromEntries([...SPECIAL, ...WORDS].map((word, id) => [word, id]));
  return {
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}

export function tinyConfig(config = TINY): Record<string, unknown> {
  return {
    model_type: 'bert',
    architectures: ['BertModel'],
    hidden_size: config.hidden,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    intermediate_size: config.intermediate,
    vocab_size: config.vocabulary,
    max_position_embeddings: config.positions,
    type_vocab_size: config.types,
    layer_norm_eps: config.epsilon,
    hidden_act: config.activation,
  };
}

/** Writes a whole model folder. `rename` gives the names that the weights are stored under. */
export async function writeTinyFolder(dir: string, rename = (name: string): string => name): Promise<void> {
  await mkdir(dir, { recursive: true });
  const weights = new Map([...tinyWeights()].map(([name, view]) => [rename(name), view]));
  await writeFile(join(dir, 'model.safetensors'), writeSafetensors(weights));
  await writeFile(join(dir, 'config.json'), JSON.stringify(tinyConfig()));
  await writeFile(join(dir, 'tokenizer.json'), JSON.stringify(tinyTokenizer()));
}
