import { Worker } from 'node:worker_threads';
import { errorOf, type Failure } from '../engine/protocol.ts';
import { OnebyteError } from '../errors.ts';
import type { SourceSpec } from '../journal/job.ts';
import type { Split } from '../journal/ledger.ts';
import type { GenesisRecord } from '../journal/record.ts';
import { programUrl } from '../programs.ts';
import { SERVICE_VARIABLES, type ServiceSettings } from './settings.ts';

export type Sources = Readonly<Record<Split, readonly SourceSpec[]>>;

/** What a worker was given: which run, its own data, and the job where it has the file. */
export interface Assignment {
  readonly uid: string;
  /** Canonical text of the job file; null: whatever the log says. */
  readonly text: string | null;
  readonly data: Sources;
  /** Folder that relative paths of data begin at, and those of the job. */
  readonly dataFolder: string;
  readonly jobFolder: string;
}

/** What says which files an assignment is read from. */
export type Given = Pick<ServiceSettings, 'jobFile' | 'dataFile' | 'folder' | 'uid' | 'group'>;

export type AssignmentReply =
  | { readonly type: 'read'; readonly assignment: Assignment }
  | { readonly type: 'failed'; readonly failure: Failure };

/**
 * `readAssignment` in a thread that ends with it: what reads and checks a job is a third of what a worker would
 * otherwise keep in memory beside its engine, and is never needed again.
 * @throws OnebyteError what `readAssignment` throws
 */
export async function assignmentApart({ jobFile, dataFile, folder, uid, group }: Given): Promise<Assignment> {
  const given: Given = { jobFile, dataFile, folder, uid, group };
  const thread = new Worker(programUrl('assignment-thread'), { workerData: given });
  try {
    const reply = await new Promise<AssignmentReply>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
    });
    if (reply.type === 'read') return reply.assignment;
    throw errorOf(reply.failure);
  } finally {
    await thread.terminate();
  }
}

/** @throws OnebyteError RUN_OTHER_JOB where the run is of another job than the file that the worker was given */
export function checkJob({ text }: Pick<Assignment, 'text'>, genesis: GenesisRecord): void {
  if (text === null || text === genesis.job) return;
  throw new OnebyteError(
    'RUN_OTHER_JOB',
    `the log is of another job than the file: they differ in ${differences(text, genesis.job).join(', ')}`,
    {
      field: SERVICE_VARIABLES.job,
      remedy: 'Give the worker the file that the run began with, or no file: the job is in the log.',
    },
  );
}

/** Where two canonical jobs differ, at most two levels down. */
function differences(a: string, b: string): string[] {
  const walk = (x: unknown, y: unknown, path: string, depth: number): string[] => {
    if (JSON.stringify(x) === JSON.stringify(y)) return [];
    const nested = (value: unknown): value is Record<string, unknown> =>
      typeof value === 'object' && value !== null && !Array.isArray(value);
    if (depth === 0 || !nested(x) || !nested(y)) return [path];
    const keys = [...new Set([...Object.keys(x), ...Object.keys(y)])];
    return keys.flatMap((key) => walk(x[key], y[key], path === '' ? key : `${path}.${key}`, depth - 1));
  };
  return walk(JSON.parse(a), JSON.parse(b), '', 3);
}
