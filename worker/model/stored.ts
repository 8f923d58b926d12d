import { closeSync, openSync, readSync } from 'node:fs';
import { OnebyteError } from '../errors.ts';
import { unpackRows } from './packed.ts';
import { widen } from './safetensors.ts';
import type { TensorView } from './tensor.ts';

/** Bytes of a file. */
export interface Place {
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * A weight that stays in a file.
 * - F32, F16, BF16: numbers, row-major.
 * - blocks: codes of 4 or 8 bits, uint8 [rows, width / 32, 4 bits], with a scale and maybe a zero for each block,
 *   float32 [rows, width / 32]. A weight is scale * (code - zero); without `zeros` that is 2^(bits - 1). Two codes of
 *   4 bits share a byte, the earlier one in its low half.
 */
export type Stored =
  | { readonly type: 'F32' | 'F16' | 'BF16'; readonly at: Place }
  | {
      readonly type: 'blocks';
      readonly bits: 4 | 8;
      readonly codes: Place;
      readonly scales: Place;
      readonly zeros?: Place;
    };

/** Weights of a block. */
export const BLOCK = 32;

/** A weight in a file, read as float32 when it is asked for. */
export function storedView(dims: readonly number[], stored: Stored): TensorView {
  return {
    dims,
    stored,
    get data() {
      return read(dims, stored);
    },
  };
}

function read(dims: readonly number[], stored: Stored): Float32Array {
  const out = new Float32Array(dims.reduce((a, b) => a * b, 1));
  if (stored.type !== 'blocks') {
    widen(stored.type, bytesAt(stored.at), out);
    return out;
  }
  const { bits, codes, scales, zeros } = stored;
  const floats = (place: Place) => new Float32Array(bytesAt(place).buffer);
  const rows = { codes: bytesAt(codes), scales: floats(scales), zeros: zeros && floats(zeros) };
  unpackRows(bits, rows, out);
  return out;
}

function bytesAt({ path, offset, bytes }: Place): Uint8Array<ArrayBuffer> {
  const into = new Uint8Array(bytes);
  const file = openSync(path, 'r');
  try {
    for (let got = 0; got < bytes; ) {
      const count = readSync(file, into, got, bytes - got, offset + got);
      if (count === 0) {
        throw new OnebyteError('MODEL_FILE_INVALID', `${path} has become shorter`, {
          field: path,
          remedy: 'leave the files of a model alone while it is used',
        });
      }
      got += count;
    }
  } finally {
    closeSync(file);
  }
  return into;
}
