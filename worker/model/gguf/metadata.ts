import { OnebyteError } from '../../errors.ts';
import { chatTemplateOf } from '../tokenizer.ts';
import { type GgufTokenizer, preOf } from './tokenizer.ts';
import type { GgufEntry } from './writer.ts';

type Fields = Readonly<Record<string, unknown>>;

function unsupported(message: string): never {
  throw new OnebyteError('EXPORT_UNSUPPORTED', message, {
    field: 'format',
    remedy: 'export it as safetensors, and convert that with convert_hf_to_gguf.py of llama.cpp',
  });
}

/** llama.cpp's names of architectures, by `model_type`. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  llama: 'llama',
  mistral: 'llama',
  qwen2: 'qwen2',
  qwen3: 'qwen3',
};

/** @throws {OnebyteError} EXPORT_UNSUPPORTED */
export function ggufArchitecture({ model_type: type }: Fields): string {
  if (typeof type === 'string' && Object.hasOwn(ARCHITECTURES, type)) return ARCHITECTURES[type]!;
  return unsupported(`GGUF is for the Llama family, and the model is of ${JSON.stringify(type)}`);
}

/**
 * The metadata of a GGUF file, as llama.cpp's converter writes them.
 * @param config as `config.json` has it
 * @param f16 whether matrices are in half precision
 * @throws {OnebyteError} EXPORT_UNSUPPORTED for another family, or a tokenizer of a kind that is not known
 */
export function metadataOf(
  config: Fields,
  tokenizer: GgufTokenizer,
  name: string,
  f16: boolean,
): Map<string, GgufEntry> {
  const architecture = ggufArchitecture(config);
  const entries = new Map<string, GgufEntry>();
  const put = (key: string, type: 'u32' | 'f32', value: unknown) => {
    if (typeof value === 'number') entries.set(`${architecture}.${key}`, { type, value });
  };
  entries.set('general.architecture', { type: 'string', value: architecture });
  entries.set('general.type', { type: 'string', value: 'model' });
  entries.set('general.name', { type: 'string', value: name });
  entries.set('general.file_type', { type: 'u32', value: f16 ? 1 : 0 });
  const heads = Number(config.num_attention_heads);
  const width = Number(config.head_dim ?? Number(config.hidden_size) / heads);
  put('block_count', 'u32', config.num_hidden_layers);
  put('context_length', 'u32', config.max_position_embeddings);
  put('embedding_length', 'u32', config.hidden_size);
  put('feed_forward_length', 'u32', config.intermediate_size);
  put('attention.head_count', 'u32', heads);
  put('attention.head_count_kv', 'u32', config.num_key_value_heads ?? heads);
  put('attention.key_length', 'u32', width);
  put('attention.value_length', 'u32', width);
  put('attention.layer_norm_rms_epsilon', 'f32', config.rms_norm_eps ?? 1e-6);
  put('rope.dimension_count', 'u32', width);
  put('vocab_size', 'u32', config.vocab_size);
  const rope = (config.rope_parameters ?? config.rope_scaling ?? {}) as Fields;
  put('rope.freq_base', 'f32', rope.rope_theta ?? config.rope_theta ?? 10_000);
  if ((rope.rope_type ?? rope.type) === 'linear') {
    entries.set(`${architecture}.rope.scaling.type`, { type: 'string', value: 'linear' });
    put('rope.scaling.factor', 'f32', rope.factor);
  }
  for (const [key, entry] of tokenizerEntries(tokenizer, Number(config.vocab_size))) entries.set(key, entry);
  return entries;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

interface TokenizerJson {
  readonly model?: { readonly type?: string; readonly vocab?: Fields; readonly merges?: readonly unknown[] };
  readonly added_tokens?: readonly AddedToken[];
  readonly post_processor?: unknown;
}

function tokenizerEntries({ json, config }: GgufTokenizer, size: number): Map<string, GgufEntry> {
  const { model, added_tokens: added = [], post_processor: post } = json as TokenizerJson;
  if (model?.type !== 'BPE' || model.vocab === undefined || model.merges === undefined)
    return unsupported('only a tokenizer of byte-level BPE can be written');
  const pre = preOf(json) ?? unsupported('the tokenizer cuts text in a way that llama.cpp has no name for');
  // What the embeddings have room for and no token stands at is named as the converter names it.
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`);
  const types = new Array<number>(size).fill(5);
  for (const [token, id] of Object.entries(model.vocab) as [string, number][]) {
    tokens[id] = token;
    types[id] = 1;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    types[id] = special === true ? 3 : 4;
  }
  const merges = model.merges.map((pair) => (Array.isArray(pair) ? pair.join(' ') : String(pair)));
  const entries = new Map<string, GgufEntry>([
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: pre }],
    ['tokenizer.ggml.tokens', { type: 'strings', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'i32s', value: types }],
    ['tokenizer.ggml.merges', { type: 'strings', value: merges }],
    [
      'tokenizer.ggml.add_bos_token',
      { type: 'bool', value: /"single":\[\{"SpecialToken"/.test(JSON.stringify(post) ?? '') },
    ],
  ]);
  for (const [key, field] of [
    ['bos', 'bos_token'],
    ['eos', 'eos_token'],
    ['padding', 'pad_token'],
  ] as const) {
    const token = config[field] as { content?: string } | string | undefined;
    const value = tokens.indexOf((typeof token === 'object' ? token?.content : token) ?? '');
    if (value >= 0) entries.set(`tokenizer.ggml.${key}_token_id`, { type: 'u32', value });
  }
  const template = chatTemplateOf(config);
  if (template !== undefined) entries.set('tokenizer.chat_template', { type: 'string', value: template });
  return entries;
}
