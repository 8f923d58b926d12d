import { readFile } from 'node:fs/promises';
import type { FineTuneJob } from '../crds/job.ts';
import { parseJobFile } from '../crds/validate.ts';
import { OnebyteError } from '../worker/errors.ts';
import { unreadable } from '../worker/system-error.ts';
import { mistakeLine } from './validate.ts';

export interface JobFile {
  /** As it was given. */
  readonly text: string;
  /** With `set` over it. */
  readonly job: FineTuneJob;
}

/**
 * A job file that is right, with values set over it.
 * @param set `path=value`
 * @throws OnebyteError FILE_UNREADABLE; JOB_INVALID with every mistake and its place
 */
export async function readJobFile(file: string, set: readonly string[]): Promise<JobFile> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  const { job, mistakes } = parseJobFile(text, set);
  if (job !== undefined) return { text, job };
  const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
  const lines = mistakes.map((mistake) => mistakeLine(file, mistake));
  throw new OnebyteError('JOB_INVALID', [`${file} has ${count}`, ...lines].join('\n'), {
    field: file,
    remedy: `correct it; onebyte validate ${file} checks it without running it`,
  });
}
