import { createHash } from 'node:crypto';
import type { Digest } from '../journal/record.ts';

/** What is known of a snapshot before it is fetched. Nothing of it is to be believed without a look at the log. */
export interface SnapshotIndex {
  /** SHA-256 of its bytes. */
  readonly digest: Digest;
  readonly bytes: number;
  /** The log's last entry in it, and the round that comes next. */
  readonly seq: number;
  readonly round: number;
}

/** Snapshots and artifacts of one run, beside its log. All of it can be made again: losing it costs time alone. */
export interface Store {
  /** @returns where it is, in words for the log; null where it does not fit */
  putSnapshot(index: SnapshotIndex, bytes: Uint8Array): Promise<string | null>;
  /** The newest first. */
  snapshots(): Promise<SnapshotIndex[]>;
  /** Null where it is gone, or is not what its digest says. */
  getSnapshot(index: SnapshotIndex): Promise<Uint8Array | null>;
  /** @returns whether it fitted */
  putArtifact(digest: Digest, bytes: Uint8Array): Promise<boolean>;
  getArtifact(digest: Digest): Promise<Uint8Array | null>;
  /** A part of the log, packed, in the place of the last one of that level. @returns whether it fitted */
  putPack(index: PackIndex, bytes: Uint8Array): Promise<boolean>;
  /** Of the first `levels` levels, those that there are. */
  packs(levels: number): Promise<PackIndex[]>;
  getPack(level: number): Promise<Uint8Array | null>;
}

/** What is said of a pack: entries from `from` on, up to the one before `end`. */
export interface PackIndex {
  readonly level: number;
  readonly from: number;
  readonly end: number;
}

/** The index of a level's pack from JSON; null for what is none. */
export function parsePackIndex(level: number, text: string): PackIndex | null {
  try {
    const { from, end } = JSON.parse(text) as Record<string, unknown>;
    const known = Number.isSafeInteger(from) && Number.isSafeInteger(end);
    return known ? { level, from: from as number, end: end as number } : null;
  } catch {
    return null;
  }
}

export function sha256(bytes: Uint8Array): Digest {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The bytes, if they are what the digest says. */
export function matching(bytes: Uint8Array | null, digest: Digest): Uint8Array | null {
  return bytes !== null && sha256(bytes) === digest ? bytes : null;
}

/** An index from JSON; null for what is none. */
export function parseIndex(text: string): SnapshotIndex | null {
  try {
    const { digest, bytes, seq, round } = JSON.parse(text) as Record<string, unknown>;
    const counts = [bytes, seq, round].every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
    if (typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest) || !counts) return null;
    return { digest, bytes: bytes as number, seq: seq as number, round: round as number };
  } catch {
    return null;
  }
}

export function newestFirst(indexes: readonly (SnapshotIndex | null)[]): SnapshotIndex[] {
  return indexes.filter((index) => index !== null).sort((a, b) => b.seq - a.seq);
}
