import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OnebyteError } from '../../worker/errors.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import { EmbeddedLog } from '../../worker/log/embedded.ts';

/** Where a local run keeps what it makes. */
export interface RunDirectory {
  readonly path: string;
  readonly log: string;
  readonly journal: string;
  readonly metrics: string;
  readonly report: string;
  readonly result: string;
  readonly artifacts: string;
  readonly model: string;
}

export function runDirectory(path: string): RunDirectory {
  return {
    path,
    log: join(path, 'log.bin'),
    journal: join(path, 'journal.onebyte'),
    metrics: join(path, 'metrics.jsonl'),
    report: join(path, 'report.html'),
    result: join(path, 'result.json'),
    artifacts: join(path, 'artifacts'),
    model: join(path, 'model'),
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
 * @param out the directory asked for; without it, `runs/NAME`, or the first of `runs/NAME-2`, ... that is not finished
 * @throws OnebyteError RUN_FINISHED, RUN_OTHER_JOB, LOG_LOCKED
 */
export async function openRun(name: string, jobText: string, out: string | undefined): Promise<OpenedRun> {
  for (let number = 1; ; number++) {
    const path = out ?? join('runs', number === 1 ? name : `${name}-${number}`);
    const directory = runDirectory(path);
    if (out === undefined && existsSync(directory.result)) continue;
    await mkdir(path, { recursive: true });
    const log = await EmbeddedLog.open(directory.log);
    try {
      const ledger = await ledgerOf(log);
      check(ledger, jobText, directory);
      return { directory, log, ledger };
    } catch (error) {
      await log.close();
      throw error;
    }
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

function check({ genesis }: Ledger, jobText: string, { path, result }: RunDirectory): void {
  const remedy = 'choose another directory with --out, or remove this one';
  if (existsSync(result))
    throw new OnebyteError('RUN_FINISHED', `${path} holds a finished run`, { field: '--out', remedy });
  if (genesis !== null && genesis.job !== jobText)
    throw new OnebyteError('RUN_OTHER_JOB', `${path} holds an unfinished run of another job`, {
      field: '--out',
      remedy,
    });
}
