import type { Ledger } from '../journal/ledger.ts';
import type { Digest } from '../journal/record.ts';
import type { Tag } from './messages.ts';

/** Where a member begins in place of the log's first entry: its engine is in this state already. */
export interface Start {
  /** After the entry `seq`, whose record is the last one in it. */
  readonly ledger: Ledger;
  readonly seq: number;
  /** Of the chain after the genesis record. */
  readonly run: Tag;
}

/** A snapshot that an engine wrote down. */
export interface SnapshotFile {
  /** SHA-256 of the file, which is also its name. */
  readonly digest: Digest;
  readonly path: string;
  readonly bytes: number;
}

/** Keeps snapshots for newcomers. */
export interface Checkpoints {
  /** @returns where it is, for the log; null where it could not be kept, which is nobody's loss */
  store(snapshot: SnapshotFile, at: Pick<Start, 'ledger' | 'seq'>): Promise<string | null>;
}

/**
 * Whether it is this member's turn to keep a snapshot of the state that the ledger has just reached. One member does,
 * another one each time: a snapshot that fails is made up for by the next.
 */
export function checkpointDue({ job, round, complete, members }: Ledger, self: string): boolean {
  const every = job?.checkpoint.everyRounds ?? 0;
  if (every === 0 || round === 0 || round % every !== 0 || complete !== null) return false;
  return members[(round / every) % members.length]?.id === self;
}
