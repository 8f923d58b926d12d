import { OnebyteError } from '../errors.ts';
import { sealRecord } from '../journal/envelope.ts';
import { follow } from '../journal/follow.ts';
import { emptyLedger } from '../journal/ledger.ts';
import type { GenesisRecord } from '../journal/record.ts';
import { type Log, LogConflict, LogUnavailable } from '../log/log.ts';
import type { Preparers } from './preparers.ts';

export interface Beginning {
  readonly log: Log;
  readonly uid: string;
  /** Makes the genesis of a run that has none; null: somebody else does. */
  readonly make: (() => Promise<GenesisRecord>) | null;
  /** Milliseconds in which this worker does not begin it although nobody does. */
  readonly headStartMs: number;
  readonly preparers: Preparers;
  readonly signal: AbortSignal;
}

const PAUSE = 250;
/** Longest wait for another who is at it: it may hang, or be gone with its machine before the server notices. Milliseconds. */
const PATIENCE = 120_000;
/** Longest wait for word that nobody is at it: lines may be slow. Milliseconds. */
const ANSWER = 5000;

/**
 * The genesis record of a run: the log's, as soon as there is one. A worker makes one while no other does; of several
 * that make one at once, the first to append it decides.
 * @throws OnebyteError RUN_OTHER_JOB for a log of another job, LOG_FULL, and what `make` throws
 */
export async function findGenesis(beginning: Beginning): Promise<GenesisRecord> {
  const { log, uid, make, headStartMs, preparers, signal } = beginning;
  let made: GenesisRecord | null = null;
  let done = () => {};
  let alone = false;
  let question: Promise<boolean> | null = null;
  try {
    for (let waited = 0; ; waited += PAUSE) {
      signal.throwIfAborted();
      try {
        const { genesis, last } = await genesisIn(log);
        if (genesis !== null) return belonging(genesis, uid);
        if (alone && make !== null && made === null) {
          done = preparers.begin();
          made = await make();
        }
        if (made !== null) {
          await log.append(sealRecord(emptyLedger(), made), { expectedLast: last, id: `genesis-${uid}` });
          continue;
        }
        if (make !== null && waited >= headStartMs) {
          // Asked before the log is read again: who is done and gone by now has left its genesis there.
          question ??= preparers.anybody(ANSWER);
          const somebody: boolean | null = await Promise.race([question, pause().then(() => null)]);
          if (somebody !== null) question = null;
          alone = somebody === false || waited >= headStartMs + PATIENCE;
          continue;
        }
      } catch (error) {
        if (error instanceof LogConflict) continue;
        if (!(error instanceof LogUnavailable)) throw error;
        question = null;
      }
      await pause();
    }
  } finally {
    done();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE));
}

/** The first genesis record of a log; entries before it are noise. */
export async function genesisIn(log: Log): Promise<{ genesis: GenesisRecord | null; last: number }> {
  let last = 0;
  // It is the first entry nearly always: what follows is not to be fetched for nothing.
  for (let count = 1; ; count *= 16) {
    const before = last;
    for await (const entry of log.read(last + 1, last + count)) {
      last = entry.seq;
      const followed = follow(emptyLedger(), entry);
      if (!('ignored' in followed)) return { genesis: followed.ledger.genesis, last };
    }
    if (last < before + count) return { genesis: null, last };
  }
}

function belonging(genesis: GenesisRecord, uid: string): GenesisRecord {
  if (genesis.uid === uid) return genesis;
  throw new OnebyteError('RUN_OTHER_JOB', `the log is of the run ${genesis.uid}, not of ${uid}`, {
    remedy: 'Delete the stream and start the job anew.',
  });
}
