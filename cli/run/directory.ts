import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ErrorCode, OnebyteError } from '../../worker/errors.ts';
import { makeFolder } from '../../worker/folder.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import { EmbeddedLog } from '../../worker/log/embedded.ts';
import { unwritable } from '../../worker/system-error.ts';
import { BASE_NAME } from '../base.ts';
import { JOURNAL_NAME } from '../journal-file.ts';
import { NATS_NAME } from '../status.ts';

/** Where a local run keeps what it makes. */
export interface RunDirectory {
  readonly path: string;
  readonly log: string;
  readonly journal: string;
  readonly metrics: string;
  readonly report: string;
  readonly result: string;
  /** `cli/base.ts` */
  readonly base: string;
  readonly artifacts: string;
  readonly model: string;
  /** Where the log of a run over NATS is; none of another run. */
  readonly nats: string;
}

export function runDirectory(path: string): RunDirectory {
  return {
    path,
    log: join(path, 'log.bin'),
    journal: join(path, JOURNAL_NAME),
    metrics: join(path, 'metrics.jsonl'),
    report: join(path, 'report.html'),
    result: join(path, 'result.json'),
    base: join(path, BASE_NAME),
    artifacts: join(path, 'artifacts'),
    model: join(path, 'model'),
    nats: join(path, NATS_NAME),
  };
}

export interface OpenedRun {
  readonly directory: RunDirectory;
  readonly log: EmbeddedLog;
  /** What the log says so far. */
  readonly ledger: Ledger;
}

/**
 * Opens the directory of a run of this job: a new one, or one to go on with.
 * @param out the directory asked for; without it, `runs/NAME`, or the first of `runs/NAME-2`, ... that holds neither a
 *   finished run nor one of another job, nor one over NATS
 * @throws OnebyteError RUN_FINISHED, RUN_OTHER_JOB, LOG_LOCKED, LOG_CORRUPT, LOG_VERSION, FILE_UNWRITABLE, DISK_FULL
 */
export async function openRun(name: string, jobText: string, out: string | undefined): Promise<OpenedRun> {
  if (out !== undefined) return openAt(out, jobText);
  for (let number = 1; ; number++) {
    const path = join('runs', number === 1 ? name : `${name}-${number}`);
    if (existsSync(runDirectory(path).result)) continue;
    try {
      return await openAt(path, jobText);
    } catch (error) {
      if (!(error instanceof OnebyteError) || !TAKEN.includes(error.code)) throw error;
    }
  }
}

const TAKEN: readonly ErrorCode[] = ['RUN_FINISHED', 'RUN_OTHER_JOB'];

async function openAt(path: string, jobText: string): Promise<OpenedRun> {
  const directory = runDirectory(path);
  // Its journal would be written anew from an empty log, and the log here would be in its way.
  if (existsSync(directory.nats) && !existsSync(directory.result))
    throw new OnebyteError('RUN_OTHER_JOB', `${path} holds an unfinished run over NATS`, {
      field: '--out',
      remedy: `go on with it with --nats, or ${REMEDY}`,
    });
  const log = await openLog(directory);
  try {
    const ledger = await ledgerOf(log);
    if (existsSync(directory.result))
      throw new OnebyteError('RUN_FINISHED', `${path} holds a finished run`, {
        field: '--out',
        remedy: REMEDY,
      });
    if (ledger.genesis === null || ledger.genesis.job === jobText) return { directory, log, ledger };
    if (ledger.totals.rounds > 0)
      throw new OnebyteError('RUN_OTHER_JOB', `${path} holds an unfinished run of another job`, {
        field: '--out',
        remedy: REMEDY,
      });
  } catch (error) {
    await log.close();
    throw error;
  }
  // A job that was corrected before its first round: nothing is lost.
  await log.close();
  await rm(directory.log);
  return openAt(path, jobText);
}

const REMEDY = 'choose another directory with --out, or remove this one';

async function openLog({ path, log }: RunDirectory): Promise<EmbeddedLog> {
  try {
    await makeFolder(path);
    return await EmbeddedLog.open(log);
  } catch (error) {
    if (error instanceof OnebyteError) throw error;
    throw unwritable(path, error);
  }
}

async function ledgerOf(log: EmbeddedLog): Promise<Ledger> {
  let ledger = emptyLedger();
  for await (const entry of log.read(1)) {
    const outcome = follow(ledger, entry);
    if (!('ignored' in outcome)) ledger = outcome.ledger;
  }
  return ledger;
}
