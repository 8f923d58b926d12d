/** Blocks of 32 weights as ONNX Runtime's `MatMulNBits` wants them; what they mean: `Stored`. */

import type { GgufTypeName } from './gguf/types.ts';

export type PackedTypeName = Extract<GgufTypeName, 'Q4_0' | 'Q4_1' | 'Q8_0'>;

export const PACKED: Readonly<Record<PackedTypeName, { readonly bits: 4 | 8; readonly zeros: boolean }>> = {
  Q4_0: { bits: 4, zeros: false },
  Q4_1: { bits: 4, zeros: true },
  Q8_0: { bits: 8, zeros: false },
};

export function isPacked(type: GgufTypeName): type is PackedTypeName {
  return Object.hasOwn(PACKED, type);
}

/** Memory for rows of packed blocks. */
export interface PackedRows {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly zeros: Float32Array | undefined;
}

/**
 * Brings blocks of a GGUF file into order: ggml has weights 0 and 16 of a block in its first byte, the runtime 0 and
 * 1. A block of Q4_1 with a scale of zero has its least value everywhere: its codes are 0, and its scale is 1.
 * @param first number of the first block in `out`
 */
export function packBlocks(type: PackedTypeName, blocks: Uint8Array, first: number, out: PackedRows): void {
  const { bits, zeros } = PACKED[type];
  const head = zeros ? 4 : 2;
  const width = bits * 4;
  const { codes, scales } = out;
  const { buffer, byteOffset, length } = blocks.byteOffset % 2 === 0 ? blocks : blocks.slice();
  const halves = new Float16Array(buffer, byteOffset, length / 2);
  for (let at = 0, b = first; at < blocks.length; at += head + width, b++) {
    const found = halves[at >> 1]!;
    const flat = zeros && found === 0;
    const scale = flat ? 1 : found;
    scales[b] = scale;
    if (zeros) out.zeros![b] = -halves[(at >> 1) + 1]! / scale;
    const from = at + head;
    const to = b * width;
    if (flat) codes.fill(0, to, to + width);
    else if (bits === 8) for (let j = 0; j < 32; j++) codes[to + j] = blocks[from + j]! ^ 0x80;
    else {
      for (let j = 0; j < 8; j++) {
        const a = blocks[from + 2 * j]!;
        const c = blocks[from + 2 * j + 1]!;
        codes[to + j] = (a & 15) | ((c & 15) << 4);
        codes[to + 8 + j] = (a >> 4) | (c & 0xf0);
      }
    }
  }
}

/**
 * Widens packed blocks to float32, to what the GGUF file has: a least value was a float16, so what is left of it in
 * scale and zero gives it exactly.
 */
export function unpackRows(bits: 4 | 8, { codes, scales, zeros }: PackedRows, out: Float32Array): void {
  const middle = 2 ** (bits - 1);
  for (let i = 0; i < out.length; i++) {
    const block = i >> 5;
    const code = bits === 8 ? codes[i]! : (codes[i >> 1]! >> (4 * (i & 1))) & 15;
    const scale = scales[block]!;
    out[i] =
      zeros === undefined ? scale * (code - middle) : scale * code + Math.f16round(-zeros[block]! * scale);
  }
}
