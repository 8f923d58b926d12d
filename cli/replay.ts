import { dirname, join } from 'node:path';
import { cacheFolder, resolveModel } from '../worker/data/cache.ts';
import { readArtifact } from '../worker/engine/artifact.ts';
import type { Basis } from '../worker/engine/basis.ts';
import { decodeBasis } from '../worker/engine/basis-file.ts';
import type { OpenedReplica } from '../worker/engine/open.ts';
import { checkBase, openReplica } from '../worker/engine/open.ts';
import { OnebyteError } from '../worker/errors.ts';
import type { StateOptions } from '../worker/grid/state.ts';
import type { JournalEntry, JournalOutcome } from '../worker/journal/file.ts';
import type { JobSpec } from '../worker/journal/job.ts';
import { parseJob } from '../worker/journal/job-text.ts';
import type { Digest, GenesisRecord, JournalRecord } from '../worker/journal/record.ts';
import { type ModelFolder, openModelFolder } from '../worker/model/folder.ts';
import { baseOf } from './base.ts';
import { entriesOf } from './journal-file.ts';

export interface ReplayOptions {
  /** Model folder; by default the journal's job says where it is, and the cache has it. */
  readonly model?: string;
  /** Rounds to apply; by default all. */
  readonly to?: number;
  readonly log?: (line: string) => void;
  /** How to make the state; by default for a replay alone. */
  readonly state?: (plan: OpenedReplica['plan']) => StateOptions;
}

/** A digest in the journal that the rebuilt state does not have. */
export interface Mismatch {
  readonly round: number;
  readonly expected: Digest;
  readonly found: Digest;
}

export interface Replayed {
  readonly replica: OpenedReplica['replica'];
  readonly plan: OpenedReplica['plan'];
  readonly state: OpenedReplica['state'];
  readonly folder: ModelFolder;
  readonly basis: Basis | null;
  readonly genesis: GenesisRecord;
  readonly outcome: JournalOutcome;
  readonly records: number;
  /** Digests compared, the start state's included. */
  readonly compared: number;
  readonly mismatch: Mismatch | null;
  readonly digest: Digest;
  /** Seconds to apply the records, once model and artifacts were loaded. */
  readonly seconds: number;
}

/** Rebuilds the state of a run from its journal and the base model, and holds it to every digest on the way. */
export async function replay(path: string, options: ReplayOptions): Promise<Replayed> {
  const { entries, outcome } = readAll(path);
  const genesis = entries[0]?.record;
  if (genesis?.kind !== 'genesis')
    throw new OnebyteError('JOURNAL_CORRUPT', `${path} holds no whole record`, {
      field: path,
      remedy: 'take another copy of the journal',
    });
  const { job } = parseJob(genesis.job);
  const modelDir = options.model ?? (await findModel(path, job.model, options.log));
  const folder = await openModelFolder(modelDir, job.model);
  checkBase(genesis, folder);
  const artifacts = [join(dirname(path), 'artifacts'), join(cacheFolder(), 'artifacts')];
  const reference = genesis.artifacts.find(({ name }) => name === 'basis');
  const basis = reference ? decodeBasis(await readArtifact(reference, artifacts)) : null;
  const opened = openReplica(folder.model, job, basis, options.state);
  const started = performance.now();
  const { records, compared, mismatch } = applyAll(
    opened.replica,
    genesis,
    entries,
    options.to ?? Number.POSITIVE_INFINITY,
  );
  const digest = opened.replica.digest();
  const seconds = (performance.now() - started) / 1000;
  return {
    ...opened,
    folder,
    basis,
    genesis,
    outcome,
    records,
    compared,
    mismatch,
    digest,
    seconds,
  };
}

/** The base model: where the run's directory says that it was, else where the job says that it is. */
async function findModel(path: string, model: JobSpec['model'], log: ReplayOptions['log']): Promise<string> {
  const known = baseOf(dirname(path), model.sha256);
  if (known !== null) return known;
  try {
    return await resolveModel(model, { folder: dirname(path), ...(log ? { log } : {}) });
  } catch (error) {
    if (!(error instanceof OnebyteError) || !['MODEL_FILE_MISSING', 'DIGEST_MISMATCH'].includes(error.code))
      throw error;
    throw new OnebyteError(error.code, error.message, {
      field: 'model.uri',
      cause: error.cause,
      remedy: 'give the folder of the base model with --model',
    });
  }
}

function readAll(path: string): { entries: JournalEntry[]; outcome: JournalOutcome } {
  const entries: JournalEntry[] = [];
  const reader = entriesOf(path);
  for (;;) {
    const next = reader.next();
    if (next.done) return { entries, outcome: next.value };
    entries.push(next.value);
  }
}

/** Applies records up to `to` rounds; stops at the first digest that is not met. */
function applyAll(
  replica: OpenedReplica['replica'],
  genesis: GenesisRecord,
  entries: readonly JournalEntry[],
  to: number,
) {
  const start = replica.digest();
  if (start !== genesis.state) {
    const mismatch: Mismatch = { round: 0, expected: genesis.state, found: start };
    return { records: 0, compared: 1, mismatch };
  }
  const checkpoints = checkpointsOf(entries);
  let compared = 1;
  let held: JournalEntry[] = [];
  const flush = () => {
    replica.commitAll(held);
    held = [];
  };
  /** Holds the state so far to what is said of it. */
  const missed = (claims: readonly Claim[]): Mismatch | null => {
    if (claims.length === 0) return null;
    flush();
    compared += claims.length;
    const found = replica.digest();
    const wrong = claims.find(({ digest }) => digest !== found);
    return wrong === undefined ? null : { round: wrong.round, expected: wrong.digest, found };
  };
  /** What is said of the state that was reached last, and is yet to be compared. */
  let due: readonly Claim[] = [];
  let round = -1;
  for (const entry of entries) {
    const { record, ledger } = entry;
    if (record.kind === 'round' && ledger.totals.rounds > to) break;
    const mismatch = missed([...due, ...claimOf(record)]);
    if (mismatch !== null) return { records: replica.records, compared, mismatch };
    held.push(entry);
    due = ledger.round > round ? (checkpoints.get(ledger.round) ?? []) : [];
    round = ledger.round;
  }
  const mismatch = missed(due);
  flush();
  return { records: replica.records, compared, mismatch };
}

/** A digest that a record gives of the state after `round` rounds. */
interface Claim {
  readonly round: number;
  readonly digest: Digest;
}

/** What a record says of the state that it finds. */
function claimOf(record: JournalRecord): Claim[] {
  const claims = (record.kind === 'round' && record.digest !== null) || record.kind === 'end';
  return claims ? [{ round: record.round, digest: record.digest! }] : [];
}

/** Checkpoints by round: their records come as soon as the snapshot is kept, which may be rounds later. */
function checkpointsOf(entries: readonly JournalEntry[]): ReadonlyMap<number, readonly Claim[]> {
  const found = new Map<number, Claim[]>();
  for (const { record } of entries)
    if (record.kind === 'checkpoint') found.set(record.round, [...(found.get(record.round) ?? []), record]);
  return found;
}
