import { GGUF_TYPES, type GgufTypeName } from './types.ts';

/**
 * One weight, as ggml's `dequantize_row_*` gives it; slow, and the measure for `dequantise`. The first 16 weights of a
 * 4-bit block are the low halves of its bytes, the last 16 the high ones.
 * @param bytes whole blocks
 */
export function weightAt(type: GgufTypeName, bytes: Uint8Array, index: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { weights, bytes: width } = GGUF_TYPES[type];
  const block = Math.floor(index / weights) * width;
  const j = index % weights;
  const nibble = (start: number) => {
    const byte = view.getUint8(start + (j % 16));
    return j < 16 ? byte & 15 : byte >> 4;
  };
  switch (type) {
    case 'F32':
      return view.getFloat32(block, true);
    case 'F16':
      return view.getFloat16(block, true);
    case 'BF16': {
      const word = new DataView(new ArrayBuffer(4));
      word.setUint16(0, view.getUint16(block, true));
      return word.getFloat32(0);
    }
    case 'Q4_0':
      return Math.fround(view.getFloat16(block, true) * (nibble(block + 2) - 8));
    case 'Q4_1':
      return Math.fround(view.getFloat16(block, true) * nibble(block + 4) + view.getFloat16(block + 2, true));
    case 'Q8_0':
      return Math.fround(view.getFloat16(block, true) * view.getInt8(block + 2 + j));
  }
}

/**
 * Widens whole blocks to float32. Exact but for Q4_1, which rounds once, as ggml does.
 * @param bytes whole blocks
 * @param out as many weights as the blocks have
 */
export function dequantise(type: GgufTypeName, bytes: Uint8Array, out: Float32Array): void {
  const aligned = type === 'F32' ? aligned4(bytes) : aligned2(bytes);
  const { buffer, byteOffset: at, length } = aligned;
  switch (type) {
    case 'F32':
      out.set(new Float32Array(buffer, at, length / 4));
      return;
    case 'F16':
      out.set(new Float16Array(buffer, at, length / 2));
      return;
    case 'BF16': {
      // bfloat16 is the upper half of a float32.
      const halves = new Uint16Array(buffer, at, length / 2);
      const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
      return;
    }
    default:
      blocks[type](aligned, new Float16Array(buffer, at, length / 2), out);
  }
}

type Blocks = (bytes: Uint8Array, halves: Float16Array, out: Float32Array) => void;

const blocks: Record<'Q4_0' | 'Q4_1' | 'Q8_0', Blocks> = {
  Q4_0(bytes, halves, out) {
    for (let at = 0, o = 0; at < bytes.length; at += 18, o += 32) {
      const scale = halves[at >> 1]!;
      for (let j = 0; j < 16; j++) {
        const byte = bytes[at + 2 + j]!;
        out[o + j] = scale * ((byte & 15) - 8);
        out[o + 16 + j] = scale * ((byte >> 4) - 8);
      }
    }
  },
  Q4_1(bytes, halves, out) {
    for (let at = 0, o = 0; at < bytes.length; at += 20, o += 32) {
      const scale = halves[at >> 1]!;
      const least = halves[(at >> 1) + 1]!;
      for (let j = 0; j < 16; j++) {
        const byte = bytes[at + 4 + j]!;
        out[o + j] = scale * (byte & 15) + least;
        out[o + 16 + j] = scale * (byte >> 4) + least;
      }
    }
  },
  Q8_0(bytes, halves, out) {
    for (let at = 0, o = 0; at < bytes.length; at += 34, o += 32) {
      const scale = halves[at >> 1]!;
      for (let j = 0; j < 32; j++) out[o + j] = scale * ((bytes[at + 2 + j]! << 24) >> 24);
    }
  },
};

function aligned2(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
}

function aligned4(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
}
