import { writeFileSync } from 'node:fs';
import { GGUF_TYPES, type GgufTypeName } from '../../../worker/model/gguf/types.ts';
import { type GgufEntry, type GgufSource, writeGguf } from '../../../worker/model/gguf/writer.ts';

/** The same numbers for the same seed. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Largest scale and least value of a block, for weights of that size. */
const SCALES: Partial<Record<GgufTypeName, readonly [number, number]>> = {
  Q5_0: [0.008, 0],
  Q5_1: [0.008, 0.1],
  Q8_0: [0.001, 0],
  Q4_K: [2e-4, 2e-3],
  Q5_K: [1e-4, 2e-3],
  Q6_K: [3e-5, 0],
};

/** Blocks of a type with weights of a few hundredths. */
export function randomBlocks(type: GgufTypeName, count: number, random: () => number): Uint8Array {
  const { weights, bytes } = GGUF_TYPES[type];
  const out = new Uint8Array((count / weights) * bytes);
  const view = new DataView(out.buffer);
  for (let at = 0; at < out.length; at += bytes) {
    if (type === 'F32') view.setFloat32(at, random() * 0.2 - 0.1, true);
    else if (type === 'F16') view.setFloat16(at, random() * 0.2 - 0.1, true);
    else if (type === 'BF16') view.setUint16(at, 0x3d00 + random() * 0x8f, true);
    else {
      for (let i = at; i < at + bytes; i++) out[i] = random() * 256;
      const [scale, least] = SCALES[type] ?? [0.015, 0.1];
      const zero = random() < 0.02;
      view.setFloat16(at + (type === 'Q6_K' ? 208 : 0), zero ? 0 : scale * random(), true);
      if (/_1$|[45]_K$/.test(type))
        view.setFloat16(at + 2, (type.endsWith('K') ? 1 : -1) * least * random(), true);
    }
  }
  return out;
}

export interface TinyShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly intermediate: number;
  readonly vocabulary: number;
}

export const TINY: TinyShape = {
  hidden: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  intermediate: 96,
  vocabulary: 64,
};

/** Wide enough for blocks of 256. */
export const TINY_K: TinyShape = { ...TINY, hidden: 256, intermediate: 512 };

export const shapeFor = (type: GgufTypeName): TinyShape => (type.endsWith('_K') ? TINY_K : TINY);

/** Letters, pairs of the first two, and nothing else. */
function tinyTokens(count: number): string[] {
  return Array.from({ length: count }, (_, i) => (i < 26 ? String.fromCharCode(97 + i) : `<${i}>`));
}

/** A model of the architecture `llama` in pieces of a GGUF file; matrices of one type, the embeddings of another. */
export function* tinyGguf(
  type: GgufTypeName,
  { hidden, layers, heads, kvHeads, intermediate, vocabulary }: TinyShape = shapeFor(type),
  embeddings: GgufTypeName = 'Q8_0',
): Generator<Uint8Array> {
  const random = numbers(9);
  const tokens = tinyTokens(vocabulary);
  const metadata: Record<string, GgufEntry> = {
    'general.architecture': { type: 'string', value: 'llama' },
    'llama.block_count': { type: 'u32', value: layers },
    'llama.context_length': { type: 'u32', value: 256 },
    'llama.embedding_length': { type: 'u32', value: hidden },
    'llama.feed_forward_length': { type: 'u32', value: intermediate },
    'llama.attention.head_count': { type: 'u32', value: heads },
    'llama.attention.head_count_kv': { type: 'u32', value: kvHeads },
    'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: 1e-5 },
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: 'gpt-2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: tokens.map((_, i) => (i === 26 ? 3 : 1)) },
    'tokenizer.ggml.merges': { type: 'strings', value: [] },
    'tokenizer.ggml.eos_token_id': { type: 'u32', value: 26 },
  };
  const matrix = (name: string, out: number, width: number, of: GgufTypeName = type): GgufSource => ({
    name: `${name}.weight`,
    dims: [out, width],
    type: of,
    read: () => randomBlocks(of, out * width, random),
  });
  const norm = (name: string): GgufSource => ({
    name: `${name}.weight`,
    dims: [hidden],
    type: 'F32',
    read: () => new Uint8Array(Float32Array.from({ length: hidden }, () => 0.8 + 0.4 * random()).buffer),
  });
  const kv = (hidden / heads) * kvHeads;
  const tensors = [
    matrix('token_embd', vocabulary, hidden, embeddings),
    ...Array.from({ length: layers }, (_, i) => `blk.${i}.`).flatMap((at) => [
      norm(`${at}attn_norm`),
      matrix(`${at}ffn_down`, hidden, intermediate),
      matrix(`${at}ffn_gate`, intermediate, hidden),
      matrix(`${at}ffn_up`, intermediate, hidden),
      norm(`${at}ffn_norm`),
      matrix(`${at}attn_k`, kv, hidden),
      matrix(`${at}attn_output`, hidden, hidden),
      matrix(`${at}attn_q`, hidden, hidden),
      matrix(`${at}attn_v`, kv, hidden),
    ]),
    norm('output_norm'),
  ];
  yield* writeGguf(new Map(Object.entries(metadata)), tensors);
}

export function writeTiny(path: string, ...args: Parameters<typeof tinyGguf>): string {
  writeFileSync(path, Buffer.concat([...tinyGguf(...args)]));
  return path;
}
