/** Blocks of weights in the order of ONNX Runtime's `MatMulNBits`; what they mean: `Stored`. */

import { GGUF_TYPES, type GgufTypeName } from './gguf/types.ts';

/** What a code of 4 bits is, if its block has no least value, for a weight of zero. */
export const ZERO = 8;

export type PackedTypeName = Exclude<GgufTypeName, 'F32' | 'F16' | 'BF16'>;

/** How a type's blocks lie once they are packed. */
export interface PackedForm {
  readonly bits: 4 | 8;
  /** Weights that share a scale. */
  readonly size: 16 | 32;
  /** Whether each has a least value, too. */
  readonly least: boolean;
  /** Scales and least values of the `_K` types are products of two numbers, which only a float32 holds. */
  readonly scales: 'F16' | 'F32';
}

export const PACKED: Readonly<Record<PackedTypeName, PackedForm>> = {
  Q4_0: { bits: 4, size: 32, least: false, scales: 'F16' },
  Q4_1: { bits: 4, size: 32, least: true, scales: 'F16' },
  Q5_0: { bits: 8, size: 32, least: false, scales: 'F16' },
  Q5_1: { bits: 8, size: 32, least: true, scales: 'F16' },
  Q8_0: { bits: 8, size: 32, least: false, scales: 'F16' },
  Q4_K: { bits: 4, size: 32, least: true, scales: 'F32' },
  Q5_K: { bits: 8, size: 32, least: true, scales: 'F32' },
  Q6_K: { bits: 8, size: 16, least: false, scales: 'F32' },
};

export function isPacked(type: GgufTypeName): type is PackedTypeName {
  return Object.hasOwn(PACKED, type);
}

export type Scales = Float16Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/** Memory for rows of packed blocks. */
export interface PackedRows {
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly scales: Scales;
  readonly least: Scales | undefined;
}

/** Memory for so many weights of a type. */
export function packedRows(type: PackedTypeName, weights: number): PackedRows {
  const { bits, size, least, scales } = PACKED[type];
  const each = () => new (scales === 'F16' ? Float16Array : Float32Array)(weights / size);
  return {
    codes: new Uint8Array((weights * bits) / 8),
    scales: each(),
    least: least ? each() : undefined,
  };
}

/**
 * Brings blocks of a GGUF file into order.
 * @param first number of the first weight in `out`
 */
export function packBlocks(type: PackedTypeName, blocks: Uint8Array, first: number, out: PackedRows): void {
  const { weights, bytes } = GGUF_TYPES[type];
  const { bits, size } = PACKED[type];
  const room = new Uint8Array(weights);
  const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  const { codes, scales } = out;
  for (let at = 0, w = first; at < blocks.length; at += bytes, w += weights) {
    READERS[type](view, at, room, scales, out.least, w / size);
    if (bits === 8) codes.set(room, w);
    else for (let i = 0; i < weights; i += 2) codes[(w + i) >> 1] = room[i]! | (room[i + 1]! << 4);
  }
}

/** Reads one block: codes as the runtime wants them, and from `part` on the scales and least values. */
type Reader = (
  view: DataView,
  at: number,
  codes: Uint8Array,
  scales: Scales,
  least: Scales | undefined,
  part: number,
) => void;

const half = (view: DataView, at: number): number => view.getFloat16(at, true);

/** 16 bytes: weights 0 to 15 are the low halves, 16 to 31 the high ones; `fifths`: where a fifth bit of each is. */
function nibbles(view: DataView, at: number, codes: Uint8Array, fifths: number, added: number): void {
  const high = fifths < 0 ? 0 : view.getUint32(fifths, true);
  for (let j = 0; j < 16; j++) {
    const byte = view.getUint8(at + j);
    codes[j] = ((byte & 15) | (((high >>> j) & 1) << 4)) + added;
    codes[j + 16] = ((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) + added;
  }
}

/** Scales and least values of the eight parts of `Q4_K` and `Q5_K`: six bits each in the 12 bytes from 4 on. */
function sixBits(view: DataView, at: number, scales: Scales, least: Scales, part: number): void {
  const [scale, low] = [half(view, at), half(view, at + 2)];
  const byte = (i: number) => view.getUint8(at + 4 + i);
  for (let i = 0; i < 8; i++) {
    const [a, b] =
      i < 4
        ? [byte(i) & 63, byte(i + 4) & 63]
        : [(byte(i + 4) & 15) | ((byte(i - 4) >> 6) << 4), (byte(i + 4) >> 4) | ((byte(i) >> 6) << 4)];
    scales[part + i] = scale * a;
    least[part + i] = -low * b;
  }
}

const READERS: Readonly<Record<PackedTypeName, Reader>> = {
  Q4_0(view, at, codes, scales, _, part) {
    scales[part] = half(view, at);
    nibbles(view, at + 2, codes, -1, 0);
  },
  Q4_1(view, at, codes, scales, least, part) {
    scales[part] = half(view, at);
    least![part] = half(view, at + 2);
    nibbles(view, at + 4, codes, -1, 0);
  },
  Q5_0(view, at, codes, scales, _, part) {
    scales[part] = half(view, at);
    nibbles(view, at + 6, codes, at + 2, -16);
  },
  Q5_1(view, at, codes, scales, least, part) {
    scales[part] = half(view, at);
    least![part] = half(view, at + 2);
    nibbles(view, at + 8, codes, at + 4, 0);
  },
  Q8_0(view, at, codes, scales, _, part) {
    scales[part] = half(view, at);
    for (let j = 0; j < 32; j++) codes[j] = view.getUint8(at + 2 + j);
  },
  Q4_K(view, at, codes, scales, least, part) {
    sixBits(view, at, scales, least!, part);
    for (let j = 0; j < 128; j++) {
      const byte = view.getUint8(at + 16 + j);
      const to = (j >> 5) * 64 + (j & 31);
      codes[to] = byte & 15;
      codes[to + 32] = byte >> 4;
    }
  },
  Q5_K(view, at, codes, scales, least, part) {
    sixBits(view, at, scales, least!, part);
    for (let j = 0; j < 128; j++) {
      const byte = view.getUint8(at + 48 + j);
      const high = view.getUint8(at + 16 + (j & 31)) >> (2 * (j >> 5));
      const to = (j >> 5) * 64 + (j & 31);
      codes[to] = (byte & 15) | ((high & 1) << 4);
      codes[to + 32] = (byte >> 4) | ((high & 2) << 3);
    }
  },
  Q6_K(view, at, codes, scales, _, part) {
    const scale = half(view, at + 208);
    for (let i = 0; i < 16; i++) scales[part + i] = scale * view.getInt8(at + 192 + i);
    for (let j = 0; j < 128; j++) {
      const [side, within] = [j >> 6, j & 63];
      const byte = view.getUint8(at + j);
      const high = view.getUint8(at + 128 + side * 32 + (within & 31)) >> (2 * (within >> 5));
      const to = side * 128 + within;
      codes[to] = ((byte & 15) | ((high & 3) << 4)) - 32;
      codes[to + 64] = ((byte >> 4) | (((high >> 4) & 3) << 4)) - 32;
    }
  },
};

/** Widens packed blocks to float32, to what the GGUF file has. */
export function unpackRows(
  { bits, size }: Pick<PackedForm, 'bits' | 'size'>,
  { codes, scales, least }: PackedRows,
  out: Float32Array,
): void {
  for (let part = 0, i = 0; i < out.length; part++) {
    const scale = scales[part]!;
    const low = least?.[part];
    const zero = bits === 4 && low === undefined ? ZERO : 0;
    for (const end = i + size; i < end; i++) {
      const code = bits === 8 ? (codes[i]! << 24) >> 24 : ((codes[i >> 1]! >> (4 * (i & 1))) & 15) - zero;
      out[i] = low === undefined ? scale * code : scale * code + low;
    }
  }
}
