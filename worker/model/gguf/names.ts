/** Names of the Llama family's tensors in GGUF, by what Hugging Face calls them. */

const WHOLE: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
};

const PARTS: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

const WHOLE_BACK = new Map(Object.entries(WHOLE).map(([gguf, name]) => [name, gguf]));
const PARTS_BACK = new Map(Object.entries(PARTS).map(([gguf, name]) => [name, gguf]));

/** `blk.3.attn_q.weight` to `model.layers.3.self_attn.q_proj.weight`; undefined: a tensor that the family has not. */
export function huggingFaceName(gguf: string): string | undefined {
  if (Object.hasOwn(WHOLE, gguf)) return WHOLE[gguf];
  const found = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(gguf);
  if (found === null || !Object.hasOwn(PARTS, found[2]!)) return undefined;
  return `model.layers.${found[1]}.${PARTS[found[2]!]}.${found[3]}`;
}

/** The other way round. */
export function ggufName(name: string): string | undefined {
  const whole = WHOLE_BACK.get(name);
  if (whole !== undefined) return whole;
  const found = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name);
  const part = found === null ? undefined : PARTS_BACK.get(found[2]!);
  return part === undefined ? undefined : `blk.${found![1]}.${part}.${found![3]}`;
}

/**
 * Where a row of a query or key matrix belongs in Hugging Face's order. llama.cpp turns neighbours (0, 1), (2, 3) of a
 * head by one angle, Hugging Face the halves (0, w/2), (1, w/2 + 1), so its converter moves the rows of the
 * architecture `llama` (convert_hf_to_gguf.py, `LlamaModel.permute`).
 */
export function rowInHead(row: number, headWidth: number): number {
  const within = row % headWidth;
  return row - within + (within % 2) * (headWidth / 2) + Math.floor(within / 2);
}

/** Whether the rows of a tensor, by its Hugging Face name, were moved. */
export function rowsMoved(architecture: string, name: string): boolean {
  return architecture === 'llama' && /self_attn\.[qk]_proj\.(weight|bias)$/.test(name);
}
