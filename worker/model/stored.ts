import { closeSync, openSync, readSync } from 'node:fs';
import { OnebyteError } from '../errors.ts';
import { type PackedForm, type Scales, unpackRows } from './packed.ts';
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
 * - blocks: codes [rows, width / size, size * bits / 8], with a scale and maybe a least value for each block of `size`
 *   weights, [rows, width / size]. A weight is scale * code + least. Codes of 8 bits have a sign; two of 4 bits share a
 *   byte, the earlier one in its low half, and without least values 8 of a code is zero.
 */
export type Stored =
  | { readonly type: 'F32' | 'F16' | 'BF16'; readonly at: Place }
  | {
      readonly type: 'blocks';
      readonly form: Omit<PackedForm, 'least'>;
      readonly codes: Place;
      readonly scales: Place;
      readonly least?: Place;
    };

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
  const { form, codes, scales, least } = stored;
  const numbers = (place: Place): Scales => {
    const { buffer } = bytesAt(place);
    return form.scales === 'F16' ? new Float16Array(buffer) : new Float32Array(buffer);
  };
  const rows = { codes: bytesAt(codes), scales: numbers(scales), least: least && numbers(least) };
  unpackRows(form, rows, out);
  return out;
}

function bytesAt({ path, offset, bytes }: Place): Uint8Array<ArrayBuffer> {
  const into = new Uint8Array(bytes);
  const file = openSync(path, 'r');
  try {
    readWhole(file, path, offset, into);
  } finally {
    closeSync(file);
  }
  return into;
}

/**
 * Fills memory from a place of an open file.
 * @throws {OnebyteError} MODEL_FILE_INVALID where the file ends before
 */
export function readWhole(file: number, path: string, offset: number, into: Uint8Array): void {
  for (let got = 0; got < into.length; ) {
    const count = readSync(file, into, got, into.length - got, offset + got);
    if (count === 0) {
      throw new OnebyteError('MODEL_FILE_INVALID', `${path} has become shorter`, {
        field: path,
        remedy: 'leave the files of a model alone while it is used',
      });
    }
    got += count;
  }
}
