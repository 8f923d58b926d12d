import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { readArtifact, writeArtifact } from '../engine/artifact.ts';
import { OnebyteError } from '../errors.ts';
import { encodeBody } from '../journal/codec.ts';
import { openEnvelope } from '../journal/envelope.ts';
import { follow } from '../journal/follow.ts';
import { chainAfter, emptyLedger, type Ledger } from '../journal/ledger.ts';
import { encodeProgress, progressOf } from '../journal/progress.ts';
import type { Digest, GenesisRecord, RoundRecord } from '../journal/record.ts';
import type { Log, LogEntry } from '../log/log.ts';
import { decodeReplica } from '../replica/snapshot.ts';
import type { Checkpoints, SnapshotFile, Start } from '../round/checkpoint.ts';
import { tagOf } from '../round/messages.ts';
import { matching, type SnapshotIndex, type Store } from '../store/store.ts';

/** A snapshot on this machine's disk that fits the log. */
export interface Landing {
  readonly start: Start;
  readonly file: SnapshotFile;
  /** Whether it was not on the disk before. */
  readonly fetched: boolean;
}

export interface Search {
  readonly log: Log;
  readonly store: Store;
  readonly genesis: GenesisRecord;
  /** Where snapshots lie that this worker has already, and where those that it fetches go. Others in it are removed. */
  readonly folder: string;
  readonly logger: Logger;
}

/** Takes a state over. */
export interface Landed {
  begin(file: SnapshotFile, genesis: GenesisRecord): Promise<Digest>;
  rewind(records: number): Promise<unknown>;
}

/**
 * Has an engine begin at the newest snapshot that the log vouches for; null: it is where it was.
 * @throws LogUnavailable; OnebyteError NATS_DENIED
 */
export async function land(search: Search, engine: Landed): Promise<Landing | null> {
  const { log, genesis, logger } = search;
  const landing = await findLanding(search);
  if (landing === null) return null;
  const { start, file, fetched } = landing;
  const { round } = start.ledger;
  const passOver = (why: string) =>
    logger.warn({ round, digest: file.digest }, `passed a snapshot over: ${why}`);
  try {
    const state = await engine.begin(file, genesis);
    if ((await confirmed(log, start, state)) !== false) {
      logger.info({ round, bytes: file.bytes, fetched }, 'began from a snapshot');
      return landing;
    }
    await engine.rewind(0);
    passOver('the others have another state');
  } catch (error) {
    if (!(error instanceof OnebyteError) || error.code !== 'SNAPSHOT_INVALID') throw error;
    passOver(error.message);
  }
  return null;
}

/** Keeps a member's snapshots in a store; where that fails, newcomers have the log. */
export function keeper(store: Store, logger: Logger, onKept: () => void): Checkpoints {
  return {
    store: async ({ path, digest, bytes }, { ledger: { round }, seq }) => {
      try {
        const data = new Uint8Array(await readFile(path));
        const location = await store.putSnapshot({ digest, bytes, seq, round }, data);
        if (location === null)
          logger.warn(
            { round, bytes },
            'no snapshot was kept: the store has no room for it, or the line is too slow',
          );
        else onKept();
        return location;
      } catch (error) {
        logger.warn({ round, bytes }, `no snapshot was kept: ${String(error)}`);
        return null;
      }
    },
  };
}

/** Entries after a snapshot among which the round record has to be that confirms its state. */
const CONFIRMING = 16;

/**
 * The newest snapshot that is of this run's log: its bytes are what its name says, its chain and its summary are those of
 * the log's entry. Whether the state is right is for `confirmed` to say, once an engine has taken it.
 */
export async function findLanding({ log, store, genesis, folder, logger }: Search): Promise<Landing | null> {
  await mkdir(folder, { recursive: true });
  let landing: Landing | null = null;
  for (const index of await store.snapshots()) {
    const path = join(folder, index.digest);
    const onRefused = ({ round, digest }: SnapshotIndex, why: string) =>
      logger.warn({ round, digest }, `passed a snapshot over: ${why}`);
    const held = matching(await readFile(path).catch(() => null), index.digest);
    const bytes = held ?? (await store.getSnapshot(index));
    const ledger = bytes === null ? 'it cannot be read' : ledgerIn(bytes, genesis);
    if (typeof ledger === 'string') onRefused(index, ledger);
    else if (!(await holds(log, index.seq, ledger))) onRefused(index, 'it is not of this log');
    else {
      if (held === null) await writeFile(path, bytes!);
      const run = tagOf(chainAfter(emptyLedger().chain, encodeBody(genesis, emptyLedger())));
      const { seq, digest } = index;
      landing = {
        start: { ledger, seq, run },
        file: { path, digest, bytes: bytes!.length },
        fetched: held === null,
      };
      break;
    }
  }
  for (const name of await readdir(folder))
    if (name !== landing?.file.digest) await rm(join(folder, name), { force: true, recursive: true });
  return landing;
}

/** The ledger in a snapshot, or why it has none. */
function ledgerIn(bytes: Uint8Array, genesis: GenesisRecord): Ledger | string {
  try {
    return decodeReplica(bytes, genesis).ledger;
  } catch (error) {
    if (error instanceof OnebyteError) return error.message;
    throw error;
  }
}

/** Whether the log's entry `seq` is the one that leads to this ledger. */
async function holds(log: Log, seq: number, ledger: Ledger): Promise<boolean> {
  const [entry] = await entries(log, seq, seq);
  if (entry === undefined) return false;
  try {
    const { previous, body, summaryBytes } = openEnvelope(entry.data);
    const summary = encodeProgress(progressOf(ledger));
    return same(chainAfter(previous, body), ledger.chain) && same(summaryBytes, summary);
  } catch (error) {
    if (error instanceof OnebyteError) return false;
    throw error;
  }
}

/**
 * Whether the others agree that this is the state of the round: a round record at which snapshots are kept carries its
 * digest. Null: that record is not in the log yet, and will tell the member itself.
 */
async function confirmed(log: Log, { ledger, seq }: Start, state: Digest): Promise<boolean | null> {
  const record = await roundAfter(log, ledger, seq);
  return record === null || record.digest === null ? null : record.digest === state;
}

async function roundAfter(log: Log, from: Ledger, seq: number): Promise<RoundRecord | null> {
  let ledger = from;
  // It is the next entry nearly always: more are not to be fetched for nothing.
  for (let next = seq + 1; next <= seq + CONFIRMING; next++) {
    const [entry] = await entries(log, next, next);
    if (entry === undefined) return null;
    const outcome = follow(ledger, entry);
    if ('ignored' in outcome) continue;
    if (outcome.record.kind === 'round' && outcome.record.digest !== null) return outcome.record;
    if (outcome.ledger.round > from.round) return null;
    ledger = outcome.ledger;
  }
  return null;
}

async function entries(log: Log, from: number, to: number): Promise<LogEntry[]> {
  const found: LogEntry[] = [];
  for await (const entry of log.read(from, to)) found.push(entry);
  return found;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Puts the run's artifacts, which are in `folder`, where others find them. @returns names of those that did not fit */
export async function publishArtifacts(
  genesis: GenesisRecord,
  folder: string,
  store: Store,
): Promise<string[]> {
  const refused: string[] = [];
  for (const artifact of genesis.artifacts)
    if (!(await store.putArtifact(artifact.digest, await readArtifact(artifact, [folder]))))
      refused.push(artifact.name);
  return refused;
}

/** Fetches the run's artifacts that are in none of the folders, into the first. Those that are nowhere stay missing. */
export async function fetchArtifacts(
  genesis: GenesisRecord,
  folders: readonly string[],
  store: Store,
): Promise<void> {
  for (const artifact of genesis.artifacts) {
    const held = await readArtifact(artifact, folders).catch(() => null);
    const bytes = held ?? (await store.getArtifact(artifact.digest));
    if (held === null && bytes !== null) await writeArtifact(bytes, folders[0]!);
  }
}
