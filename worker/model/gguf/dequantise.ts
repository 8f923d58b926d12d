import { PACKED, packBlocks, packedRows, unpackRows } from '../packed.ts';
import { GGUF_TYPES, type GgufTypeName } from './types.ts';

/**
 * Widens whole blocks to float32. Exact but for types with least values, which round once, as ggml does.
 * @param bytes whole blocks
 * @param out as many weights as the blocks have
 */
export function dequantise(type: GgufTypeName, bytes: Uint8Array, out: Float32Array): void {
  const { bytes: width } = GGUF_TYPES[type];
  const { buffer, byteOffset: at, length } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  switch (type) {
    case 'F32':
      out.set(new Float32Array(buffer, at, length / width));
      return;
    case 'F16':
      out.set(new Float16Array(buffer, at, length / width));
      return;
    case 'BF16': {
      // bfloat16 is the upper half of a float32.
      const halves = new Uint16Array(buffer, at, length / width);
      const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
      return;
    }
    default: {
      const rows = packedRows(type, out.length);
      packBlocks(type, bytes, 0, rows);
      unpackRows(PACKED[type], rows, out);
    }
  }
}
