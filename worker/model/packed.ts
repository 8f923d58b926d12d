/** Blocks of 32 weights as ONNX Runtime's `MatMulNBits` wants them; what they mean: `Stored`. */

import type { GgufTypeName } from './gguf/types.ts';

export type PackedTypeName = Extract<GgufTypeName, 'Q4_0' | 'Q4_1' | 'Q8_0'>;

export const PACKED: Readonly<Record<PackedTypeName, { readonly bits: 4 | 8; readonly mins: boolean }>> = {
  Q4_0: { bits: 4, mins: false },
  Q4_1: { bits: 4, mins: true },
  Q8_0: { bits: 8, mins: false },
};

export function isPacked(type: GgufTypeName): type is PackedTypeName {
  return Object.hasOwn(PACKED, type);
}

/** Memory for rows of packed blocks. */
export interface PackedRows {
  readonly codes: Uint8Array;
  /** float16, as bits. */
  readonly scales: Uint16Array;
  readonly mins: Uint16Array | undefined;
}

const ONE = 0x3c00;

/**
 * Brings blocks of a GGUF file into order: ggml has weights 0 and 16 of a block in its first byte, the runtime 0 and
 * 1. Scales are copied. A block of Q4_1 with a scale of zero gets the scale 1 and zero codes: the runtime divides by
 * the scale.
 * @param first number of the first block in `out`
 */
export function packBlocks(type: PackedTypeName, blocks: Uint8Array, first: number, out: PackedRows): void {
  const { bits, mins } = PACKED[type];
  const head = mins ? 4 : 2;
  const width = bits * 4;
  const { codes, scales } = out;
  for (let at = 0, b = first; at < blocks.length; at += head + width, b++) {
    let scale = blocks[at]! | (blocks[at + 1]! << 8);
    if (mins) out.mins![b] = blocks[at + 2]! | (blocks[at + 3]! << 8);
    const from = at + head;
    const to = b * width;
    const nothing = mins && (scale & 0x7fff) === 0;
    if (nothing) scale = ONE;
    scales[b] = scale;
    if (nothing) codes.fill(0, to, to + width);
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

/** Widens packed blocks to float32. */
export function unpackRow(
  bits: 4 | 8,
  codes: Uint8Array,
  scales: Float16Array,
  mins: Float16Array | undefined,
  out: Float32Array,
): void {
  const middle = 2 ** (bits - 1);
  for (let i = 0; i < out.length; i++) {
    const block = i >> 5;
    const code = bits === 8 ? codes[i]! : (codes[i >> 1]! >> (4 * (i & 1))) & 15;
    const scale = scales[block]!;
    out[i] = mins === undefined ? scale * (code - middle) : scale * code + mins[block]!;
  }
}
