import { resolveModel } from '../data/cache.ts';
import { parseJob } from '../journal/job-text.ts';
import type { Preparation } from './prepare.ts';

/** The folder of the job's model. */
export function modelOf(
  jobText: string,
  { folder, log }: Pick<Preparation, 'folder' | 'log'>,
): Promise<string> {
  return resolveModel(parseJob(jobText).job.model, { folder, log });
}
