import { createHash } from 'node:crypto';
import { encodeFields } from '../direction/seed.ts';
import type { Digest } from '../journal/record.ts';
import type { PlacedTensor } from './layout.ts';

/** Bytes handed to the hash at a time. */
const CHUNK = 1 << 24;

/**
 * SHA-256 over a tensor's name, shape, exponent and raw little-endian bytes. Shared memory is hashed where it lies.
 * @param values exactly the tensor's elements, without padding
 */
export function tensorDigest(tensor: PlacedTensor, exponent: number, values: Float32Array): Digest {
  const shape = new Uint8Array(8 * tensor.shape.length);
  const shapeView = new DataView(shape.buffer);
  tensor.shape.forEach((n, i) => {
    shapeView.setBigUint64(8 * i, BigInt(n), true);
  });
  const hash = createHash('sha256');
  hash.update(encodeFields('onebyte/tensor/1', [new TextEncoder().encode(tensor.name), shape, exponent]));
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  for (let at = 0; at < bytes.length; at += CHUNK) hash.update(bytes.subarray(at, at + CHUNK));
  return hash.digest('hex');
}

/** The state's digest: SHA-256 over the digests of its tensors, in layout order. */
export function combineDigests(digests: readonly Digest[]): Digest {
  const fields = digests.map((digest) => Buffer.from(digest, 'hex'));
  return createHash('sha256').update(encodeFields('onebyte/state/1', fields)).digest('hex');
}
