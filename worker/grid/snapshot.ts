import { OnebyteError } from '../errors.ts';
import type { PlacedTensor } from './layout.ts';
import { EXPONENT_RANGE, LIMIT_QUANTA, powerOfTwo } from './quantum.ts';

/** 'OBS1', little endian: the format's name and version. */
const MAGIC = 0x3153424f;

function snapshotBytes(tensors: readonly PlacedTensor[]): number {
  return tensors.reduce((sum, t) => sum + 4 + 4 * t.size, 8);
}

/**
 * The state as bytes, all little endian: magic, number of tensors, the exponent of each (int32), then the elements of
 * each (float32), in layout order.
 */
export function encodeSnapshot(
  tensors: readonly PlacedTensor[],
  exponent: (index: number) => number,
  view: (index: number) => Float32Array,
): Uint8Array {
  const bytes = new Uint8Array(snapshotBytes(tensors));
  const head = new DataView(bytes.buffer);
  head.setUint32(0, MAGIC, true);
  head.setUint32(4, tensors.length, true);
  let at = 8 + 4 * tensors.length;
  tensors.forEach((tensor, i) => {
    head.setInt32(8 + 4 * i, exponent(i), true);
    new Float32Array(bytes.buffer, at, tensor.size).set(view(i));
    at += 4 * tensor.size;
  });
  return bytes;
}

export interface SnapshotTensor {
  readonly exponent: number;
  readonly values: Float32Array;
}

function invalid(message: string): never {
  throw new OnebyteError('SNAPSHOT_INVALID', message, {
    remedy: 'fetch the checkpoint again, or replay the log from its start',
  });
}

/**
 * Reads what `encodeSnapshot` wrote and checks that every value lies on its grid. That it is the right state, only its
 * digest can say.
 * @throws OnebyteError SNAPSHOT_INVALID
 */
export function decodeSnapshot(tensors: readonly PlacedTensor[], bytes: Uint8Array): SnapshotTensor[] {
  const expected = snapshotBytes(tensors);
  if (bytes.length !== expected) invalid(`snapshot of ${bytes.length} bytes, expected ${expected}`);
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (head.getUint32(0, true) !== MAGIC) invalid('not a snapshot of this version');
  if (head.getUint32(4, true) !== tensors.length) invalid('snapshot of another number of tensors');
  let at = 8 + 4 * tensors.length;
  return tensors.map((tensor, i) => {
    const exponent = head.getInt32(8 + 4 * i, true);
    if (exponent < EXPONENT_RANGE.min || exponent > EXPONENT_RANGE.max)
      invalid(`exponent ${exponent} of ${tensor.name} is out of range`);
    const inverse = powerOfTwo(-exponent);
    const values = new Float32Array(tensor.size);
    new Uint8Array(values.buffer).set(bytes.subarray(at, at + values.byteLength));
    at += values.byteLength;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      const n = value * inverse;
      if (!Number.isInteger(n) || Math.abs(n) > LIMIT_QUANTA || Object.is(n, -0))
        invalid(`value ${value} of ${tensor.name} is not on its grid`);
    }
    return { exponent, values };
  });
}
