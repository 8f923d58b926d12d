import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type LlamaConfig, readLlamaConfig } from '../../worker/model/llama-config.ts';
import { llamaShapes } from '../../worker/model/llama-model.ts';
import { writeSafetensors } from '../../worker/model/safetensors.ts';
import type { TensorView } from '../../worker/model/tensor.ts';
import { randomTensor } from './tiny.ts';

const COMMON = {
  hidden_size: 64,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: false,
};

/** Members of the family that differ in every flag, as their `config.json`. */
export const MEMBERS: Readonly<Record<string, Record<string, unknown>>> = {
  llama: { ...COMMON, model_type: 'llama', architectures: ['LlamaForCausalLM'] },
  tied: {
    ...COMMON,
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    tie_word_embeddings: true,
    num_key_value_heads: 4,
  },
  biased: { ...COMMON, model_type: 'llama', architectures: ['LlamaForCausalLM'], attention_bias: true },
  linear: {
    ...COMMON,
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    rope_scaling: { rope_type: 'linear', factor: 4 },
  },
  llama3: {
    ...COMMON,
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    rope_scaling: {
      rope_type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 16,
    },
  },
  mistral: {
    ...COMMON,
    model_type: 'mistral',
    architectures: ['MistralForCausalLM'],
    head_dim: 32,
    num_key_value_heads: 1,
    sliding_window: 32,
  },
  qwen2: {
    ...COMMON,
    model_type: 'qwen2',
    architectures: ['Qwen2ForCausalLM'],
    tie_word_embeddings: true,
    use_sliding_window: false,
    sliding_window: 32,
  },
  qwen3: { ...COMMON, model_type: 'qwen3', architectures: ['Qwen3ForCausalLM'], head_dim: 48 },
};

export function memberConfig(name: string): LlamaConfig {
  return readLlamaConfig(MEMBERS[name]!);
}

/** Weights large enough that every part of the model matters to its output. */
export function memberWeights(name: string): Map<string, TensorView> {
  let seed = 100;
  return new Map(
    [...llamaShapes(memberConfig(name))].map(([key, dims]) => {
      const isGain = dims.length === 1 && key.endsWith('norm.weight');
      const view = randomTensor(dims, seed++, isGain ? 0.3 : 0.35);
      return [key, isGain ? { dims, data: view.data.map((x) => 1 + x) } : view];
    }),
  );
}

/** Texts of several lengths, one as long as a window allows. */
export const ROWS: readonly (readonly number[])[] = [
  [1, 5, 6, 7, 3],
  Array.from({ length: 30 }, (_, i) => (i * 7 + 3) % 40),
  [2, 39],
];

/** A byte-level vocabulary of letters, with a token that ends a text. */
export function memberTokenizer(): object {
  const letters = [...'abcdefghijklmnopqrstuvwxyz .,', 'Ġ', 'Ċ'];
  const vocab = Object.fromEntries(['<|end|>', '<|user|>', '<|bot|>', ...letters].map((c, i) => [c, i]));
  const added = ['<|end|>', '<|user|>', '<|bot|>'];
  return {
    version: '1.0',
    added_tokens: added.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: [], fuse_unk: false, byte_fallback: false },
  };
}

export const CHAT_TEMPLATE =
  "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}" +
  "{{ '<|user|>' if m['role'] == 'user' else '<|bot|>' }}{{ m['content'] }}{{ '<|end|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|bot|>' }}{% endif %}";

/** Writes a whole model folder, as files of other dtypes or several files where `files` makes them so. */
export async function writeMember(
  dir: string,
  name: string,
  files: (weights: ReadonlyMap<string, TensorView>) => Readonly<Record<string, string | Uint8Array>> = (
    weights,
  ) => ({ 'model.safetensors': writeSafetensors(weights) }),
): Promise<void> {
  await mkdir(dir, { recursive: true });
  const all = {
    'config.json': JSON.stringify(MEMBERS[name]),
    'tokenizer.json': JSON.stringify(memberTokenizer()),
    'tokenizer_config.json': JSON.stringify({ eos_token: '<|end|>', chat_template: CHAT_TEMPLATE }),
    ...files(memberWeights(name)),
  };
  for (const [file, content] of Object.entries(all)) await writeFile(join(dir, file), content);
}
