import { createHash } from 'node:crypto';

/** Words of a seed: the Philox key (2) and the upper half of its counter (2). */
export const SEED_WORDS = 4;

export type Field = number | Uint8Array;

/**
 * An encoding that no two different (tag, fields) share: the tag with its length, then integers as eight bytes
 * (two's complement, little endian) and byte strings behind their length in four.
 * @throws RangeError on a number that is not a safe integer, or a tag longer than 255 bytes
 */
export function encodeFields(tag: string, fields: readonly Field[]): Uint8Array {
  const head = new TextEncoder().encode(tag);
  if (head.length > 255) throw new RangeError('tag longer than 255 bytes');
  const size = fields.reduce<number>((sum, f) => sum + (typeof f === 'number' ? 8 : 4 + f.length), 0);
  const bytes = new Uint8Array(1 + head.length + size);
  const view = new DataView(bytes.buffer);
  bytes[0] = head.length;
  bytes.set(head, 1);
  let at = 1 + head.length;
  for (const field of fields) {
    if (typeof field === 'number') {
      if (!Number.isSafeInteger(field)) throw new RangeError(`not a safe integer: ${field}`);
      view.setBigInt64(at, BigInt(field), true);
      at += 8;
    } else {
      view.setUint32(at, field.length, true);
      bytes.set(field, at + 4);
      at += 4 + field.length;
    }
  }
  return bytes;
}

/** The first `words` little-endian words (at most 8) of SHA-256 over the encoded fields. */
export function hashWords(tag: string, fields: readonly Field[], words = SEED_WORDS): Uint32Array {
  const digest = createHash('sha256').update(encodeFields(tag, fields)).digest();
  return Uint32Array.from({ length: words }, (_, i) => digest.readUInt32LE(4 * i));
}

/**
 * A whole number in [0, below), the same everywhere: the hash's first 64 bits modulo `below`.
 * The bias is at most below / 2**64.
 */
export function hashToUint(tag: string, fields: readonly Field[], below: number): number {
  if (!Number.isSafeInteger(below) || below < 1) throw new RangeError(`no whole number below ${below}`);
  const [low, high] = hashWords(tag, fields, 2);
  return Number(((BigInt(high!) << 32n) | BigInt(low!)) % BigInt(below));
}

export interface ProbeName {
  /** `spec.seed` of the job: a safe integer. */
  readonly jobSeed: number;
  /** Chain value right after the last genesis or round record: 32 bytes. */
  readonly roundChain: Uint8Array;
  readonly round: number;
  readonly slot: number;
  readonly probe: number;
}

/**
 * The seed of one probe's direction. Nobody can choose it (the chain commits to all earlier rounds) and everybody can
 * compute it. Also the seed of that probe's stochastic rounding, in another counter space (`../grid/quantum.ts`).
 */
export function directionSeed(name: ProbeName): Uint32Array {
  return hashWords('onebyte/direction/1', [name.jobSeed, name.roundChain, name.round, name.slot, name.probe]);
}

/** The direction of one candidate of a seed pool (FedKSeed, arXiv 2312.06353). */
export function poolSeed(jobSeed: number, index: number): Uint32Array {
  return hashWords('onebyte/pool/1', [jobSeed, index]);
}
