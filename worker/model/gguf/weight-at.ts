import { GGUF_TYPES, type GgufTypeName } from './types.ts';

/**
 * One weight, as ggml's `dequantize_row_*` gives it; slow, and the measure for `dequantise` and `packBlocks`. The first
 * 16 weights of a 4-bit block of 32 are the low halves of its bytes, the last 16 the high ones.
 * @param bytes whole blocks
 */
export function weightAt(type: GgufTypeName, bytes: Uint8Array, index: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { weights, bytes: width } = GGUF_TYPES[type];
  const block = Math.floor(index / weights) * width;
  const j = index % weights;
  const byte = (at: number) => view.getUint8(block + at);
  const half = (at: number) => view.getFloat16(block + at, true);
  const nibble = (start: number) => (j < 16 ? byte(start + j) & 15 : byte(start + j - 16) >> 4);
  const fifth = (start: number) => ((view.getUint32(block + start, true) >>> j) & 1) << 4;
  switch (type) {
    case 'F32':
      return view.getFloat32(block, true);
    case 'F16':
      return half(0);
    case 'BF16': {
      const word = new DataView(new ArrayBuffer(4));
      word.setUint16(0, view.getUint16(block, true));
      return word.getFloat32(0);
    }
    case 'Q4_0':
      return Math.fround(half(0) * (nibble(2) - 8));
    case 'Q4_1':
      return Math.fround(half(0) * nibble(4) + half(2));
    case 'Q5_0':
      return Math.fround(half(0) * ((nibble(6) | fifth(2)) - 16));
    case 'Q5_1':
      return Math.fround(half(0) * (nibble(8) | fifth(4)) + half(2));
    case 'Q8_0':
      return Math.fround(half(0) * view.getInt8(block + 2 + j));
    case 'Q4_K':
    case 'Q5_K': {
      const part = j >> 5;
      const within = j & 31;
      const low = byte((type === 'Q4_K' ? 16 : 48) + (part >> 1) * 32 + within);
      const four = part % 2 === 0 ? low & 15 : low >> 4;
      const code = type === 'Q4_K' ? four : four | (((byte(16 + within) >> part) & 1) << 4);
      const scale = half(0) * sixBits(byte, part, 0);
      return Math.fround(scale * code - half(2) * sixBits(byte, part, 1));
    }
    case 'Q6_K': {
      const [side, quarter, within] = [j >> 7, (j >> 5) & 3, j & 31];
      const low = byte(side * 64 + (quarter & 1) * 32 + within);
      const high = (byte(128 + side * 32 + within) >> (2 * quarter)) & 3;
      const code = ((quarter < 2 ? low & 15 : low >> 4) | (high << 4)) - 32;
      return Math.fround(half(208) * view.getInt8(block + 192 + (j >> 4)) * code);
    }
  }
}

/** Scale (0) or least value (1) of a part of a `Q4_K` or `Q5_K` block: six bits each, in the 12 bytes from 4 on. */
function sixBits(byte: (at: number) => number, part: number, which: 0 | 1): number {
  if (part < 4) return byte(4 + part + 4 * which) & 63;
  const low = which === 0 ? byte(8 + part) & 15 : byte(8 + part) >> 4;
  return low | ((byte(part + 4 * which) >> 6) << 4);
}
