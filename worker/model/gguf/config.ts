import { OnebyteError } from '../../errors.ts';
import { type GgufHeader, type GgufValue, refuseFile } from './header.ts';

/** Architectures of the Llama family by what llama.cpp calls them, to Hugging Face's `model_type`. */
const ARCHITECTURES: Readonly<Record<string, string>> = { llama: 'llama', qwen2: 'qwen2', qwen3: 'qwen3' };
const CLASSES: Readonly<Record<string, string>> = {
  llama: 'LlamaForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
};

/** @throws {OnebyteError} MODEL_FAMILY_UNKNOWN, with the list of known ones */
export function architectureOf({ metadata }: GgufHeader, file: string): string {
  const found = metadata.get('general.architecture');
  if (typeof found === 'string' && Object.hasOwn(ARCHITECTURES, found)) return found;
  const known = Object.keys(ARCHITECTURES).join(', ');
  throw new OnebyteError(
    'MODEL_FAMILY_UNKNOWN',
    `${file}: its architecture is ${JSON.stringify(found) ?? 'missing'}; known: ${known}`,
    { field: `${file}[general.architecture]`, remedy: `use a model of a known architecture: ${known}` },
  );
}

/**
 * What the `config.json` of the same model says, from the metadata of its GGUF file.
 * @param frequencies factors of `rope_freqs.weight`, where the file has it
 * @throws {OnebyteError} MODEL_FAMILY_UNKNOWN, MODEL_FILE_INVALID, MODEL_CONFIG_INVALID
 */
export function configOf(
  header: GgufHeader,
  file: string,
  frequencies?: Float32Array,
): Record<string, unknown> {
  const architecture = architectureOf(header, file);
  const { metadata, tensors } = header;
  const value = (key: string): GgufValue | undefined => metadata.get(`${architecture}.${key}`);
  const number = (key: string): number => {
    const found = value(key);
    if (typeof found !== 'number') refuseFile(`${file}[${architecture}.${key}]`, 'is missing, or no number');
    return found;
  };
  const optional = (key: string): number | undefined => (value(key) === undefined ? undefined : number(key));
  const embeddings = tensors.get('token_embd.weight');
  if (embeddings === undefined) {
    throw new OnebyteError('MODEL_TENSOR_MISSING', `${file} has no tensor token_embd.weight`, {
      field: 'token_embd.weight',
      remedy: 'use the whole file as it was published',
    });
  }
  const width = optional('attention.key_length');
  return {
    architectures: [CLASSES[architecture]],
    model_type: ARCHITECTURES[architecture],
    hidden_act: 'silu',
    hidden_size: number('embedding_length'),
    intermediate_size: number('feed_forward_length'),
    num_hidden_layers: number('block_count'),
    num_attention_heads: number('attention.head_count'),
    num_key_value_heads: optional('attention.head_count_kv') ?? number('attention.head_count'),
    ...(width === undefined ? {} : { head_dim: width }),
    vocab_size: embeddings.dims[0],
    max_position_embeddings: number('context_length'),
    // Written as a float32; people mean the short decimal next to it.
    rms_norm_eps: Number(number('attention.layer_norm_rms_epsilon').toPrecision(7)),
    rope_theta: optional('rope.freq_base') ?? 10_000,
    ...scaling(header, architecture, file, frequencies),
    attention_bias: architecture === 'llama' && tensors.has('blk.0.attn_q.bias'),
    tie_word_embeddings: !tensors.has('output.weight'),
    ...special(metadata),
    torch_dtype: 'float32',
  };
}

function special(metadata: GgufHeader['metadata']): Record<string, unknown> {
  const ids = { bos_token_id: 'bos', eos_token_id: 'eos', pad_token_id: 'padding' };
  return Object.fromEntries(
    Object.entries(ids).flatMap(([key, name]) => {
      const id = metadata.get(`tokenizer.ggml.${name}_token_id`);
      return typeof id === 'number' ? [[key, id]] : [];
    }),
  );
}

function scaling(
  { metadata }: GgufHeader,
  architecture: string,
  file: string,
  frequencies: Float32Array | undefined,
): Record<string, unknown> {
  const field = `${file}[${architecture}.rope.scaling.type]`;
  const type = metadata.get(`${architecture}.rope.scaling.type`) ?? 'none';
  const factor = metadata.get(`${architecture}.rope.scaling.factor`);
  if (frequencies !== undefined) return { rope_scaling: llama3(frequencies, metadata, architecture, file) };
  if (type === 'none') return {};
  if (type === 'linear' && typeof factor === 'number')
    return { rope_scaling: { rope_type: 'linear', factor } };
  throw new OnebyteError('MODEL_CONFIG_INVALID', `${field} is ${JSON.stringify(type)}; known: none, linear`, {
    field,
    remedy: 'use a model whose positions are scaled in a known way',
  });
}

/** Llama 3.1's rule has these constants in every model that was published with it. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };

/**
 * The file has what each frequency is divided by, and not the rule. It is Llama 3.1's rule if that gives the same.
 * @throws {OnebyteError} MODEL_CONFIG_INVALID where it does not
 */
function llama3(
  frequencies: Float32Array,
  metadata: GgufHeader['metadata'],
  architecture: string,
  file: string,
): Record<string, unknown> {
  const theta = Number(metadata.get(`${architecture}.rope.freq_base`) ?? 10_000);
  const factor = Number(Math.max(...frequencies).toPrecision(6));
  const { low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original } = LLAMA3;
  const same = frequencies.every((found, i) => {
    const turns = (original * theta ** (-i / frequencies.length)) / (2 * Math.PI);
    const smooth = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return Math.abs(found * ((1 - smooth) / factor + smooth) - 1) < 1e-4;
  });
  if (same) return { rope_type: 'llama3', factor, ...LLAMA3 };
  throw new OnebyteError('MODEL_CONFIG_INVALID', `${file}: rope_freqs.weight follows no rule that is known`, {
    field: `${file}[rope_freqs.weight]`,
    remedy: 'use the model as a Hugging Face folder',
  });
}
