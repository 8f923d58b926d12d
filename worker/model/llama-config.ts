import { invalid, natural } from './config.ts';

/** How positions become angles: the frequencies of Su et al. 2021 as they are, or scaled for longer texts. */
export type RopeScaling =
  | { readonly type: 'default' }
  /** All frequencies divided by `factor` (Chen et al. 2023). */
  | { readonly type: 'linear'; readonly factor: number }
  /** Low frequencies divided by `factor`, high ones kept, those between interpolated (Llama 3.1). */
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    };

/** What the graph of the Llama family depends on. The members differ by these flags alone. */
export interface LlamaConfig {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  /** Heads of keys and values; each serves `heads / kvHeads` heads of queries. */
  readonly kvHeads: number;
  /** Width of a head. */
  readonly headWidth: number;
  readonly intermediate: number;
  readonly vocabulary: number;
  /** Longest text; where a layer looks back only so far, no longer than that. */
  readonly positions: number;
  readonly epsilon: number;
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Biases of query, key and value (Qwen2). */
  readonly qkvBias: boolean;
  /** Bias of the attention's output. */
  readonly outputBias: boolean;
  /** Norms over each head's query and key (Qwen3). */
  readonly qkNorm: boolean;
  /** Whether the embeddings are the output head, too. */
  readonly tied: boolean;
}

/** `model_type` of the members. */
export const LLAMA_TYPES = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads the `config.json` of a member of the Llama family, as Hugging Face writes it (a GGUF file's metadata are
 * brought into the same form).
 * @throws {OnebyteError} MODEL_CONFIG_INVALID, naming the field
 */
export function readLlamaConfig(config: Fields): LlamaConfig {
  const type = config.model_type;
  const activation = config.hidden_act ?? 'silu';
  if (activation !== 'silu' && activation !== 'swish')
    invalid('hidden_act', `is ${JSON.stringify(activation)}; known: silu`);
  if (config.mlp_bias === true) invalid('mlp_bias', 'is true; only false is known');
  const hidden = natural(config, 'hidden_size');
  const heads = natural(config, 'num_attention_heads');
  const kvHeads = natural(config, 'num_key_value_heads', heads);
  if (heads % kvHeads !== 0)
    invalid('num_key_value_heads', `${kvHeads} does not divide num_attention_heads ${heads}`);
  if (typeof config.head_dim !== 'number' && hidden % heads !== 0)
    invalid('hidden_size', `${hidden} is no multiple of num_attention_heads ${heads}`);
  const headWidth = natural(config, 'head_dim', hidden / heads);
  if (headWidth % 16 !== 0)
    invalid('head_dim', `is ${headWidth}; the runtime's attention takes multiples of 16`);
  const bias = config.attention_bias === true;
  return {
    hidden,
    heads,
    kvHeads,
    headWidth,
    layers: natural(config, 'num_hidden_layers'),
    intermediate: natural(config, 'intermediate_size'),
    vocabulary: natural(config, 'vocab_size'),
    positions: Math.min(natural(config, 'max_position_embeddings', 2048), window(config)),
    epsilon: small(config, 'rms_norm_eps', 1e-6),
    ...rope(config),
    qkvBias: type === 'qwen2' || bias,
    outputBias: type !== 'qwen2' && bias,
    qkNorm: type === 'qwen3',
    tied: config.tie_word_embeddings === true,
  };
}

/** How far back a layer looks: a text that is no longer is as without the window. */
function window(config: Fields): number {
  if (config.use_sliding_window === false || config.sliding_window == null) return Number.POSITIVE_INFINITY;
  return natural(config, 'sliding_window');
}

function small(config: Fields, field: string, fallback: number): number {
  const value = config[field] ?? fallback;
  if (typeof value !== 'number' || !(value > 0 && value < 1)) invalid(field, 'must lie between 0 and 1');
  return value;
}

/** `rope_parameters` of newer files; `rope_theta` and `rope_scaling` of older ones. */
function rope(config: Fields): { theta: number; scaling: RopeScaling } {
  const field = config.rope_parameters == null ? 'rope_scaling' : 'rope_parameters';
  const given = config[field] ?? {};
  if (typeof given !== 'object') invalid(field, 'is no object');
  const fields = given as Fields;
  const partial = fields.partial_rotary_factor ?? config.partial_rotary_factor ?? 1;
  if (partial !== 1) invalid('partial_rotary_factor', `is ${JSON.stringify(partial)}; only 1 is known`);
  const theta = positive(fields.rope_theta ?? config.rope_theta ?? 10_000, `${field}.rope_theta`);
  const type = fields.rope_type ?? fields.type ?? 'default';
  const number = (name: string) => positive(fields[name], `${field}.${name}`);
  if (type === 'default') return { theta, scaling: { type } };
  if (type === 'linear') return { theta, scaling: { type, factor: number('factor') } };
  if (type !== 'llama3') {
    invalid(`${field}.rope_type`, `is ${JSON.stringify(type)}; known: default, linear, llama3`);
  }
  const scaling = {
    type,
    factor: number('factor'),
    lowFrequencyFactor: number('low_freq_factor'),
    highFrequencyFactor: number('high_freq_factor'),
    originalPositions: number('original_max_position_embeddings'),
  } as const;
  if (scaling.lowFrequencyFactor >= scaling.highFrequencyFactor)
    invalid(`${field}.low_freq_factor`, 'must be below high_freq_factor');
  return { theta, scaling };
}

function positive(value: unknown, field: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
    invalid(field, `must be a number above 0, not ${JSON.stringify(value)}`);
  return value;
}

/**
 * Angles per position of each pair of a head, [headWidth / 2], in doubles.
 * Source: Su et al. 2021; for `llama3`, the published code of Llama 3.1.
 */
export function ropeFrequencies({ headWidth, theta, scaling }: LlamaConfig): Float64Array {
  const plain = Float64Array.from({ length: headWidth / 2 }, (_, i) => theta ** ((-2 * i) / headWidth));
  if (scaling.type === 'default') return plain;
  if (scaling.type === 'linear') return plain.map((f) => f / scaling.factor);
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalPositions } = scaling;
  return plain.map((f) => {
    const turns = (originalPositions * f) / (2 * Math.PI);
    if (turns < low) return f / factor;
    if (turns > high) return f;
    const smooth = (turns - low) / (high - low);
    return ((1 - smooth) * f) / factor + smooth * f;
  });
}
