import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { check } from '../../crds/check.ts';
import type { FineTuneJob } from '../../crds/job.ts';
import { jobText, sourcesFor } from '../../crds/job-spec.ts';
import { SCHEMA } from '../../crds/schema.gen.ts';
import { parseJobFile } from '../../crds/validate.ts';
import { OnebyteError } from '../errors.ts';
import type { SourceSpec } from '../journal/job.ts';
import type { Split } from '../journal/ledger.ts';
import type { Assignment, Given, Sources } from './assignment.ts';
import { readText, SERVICE_VARIABLES } from './settings.ts';

/** @throws OnebyteError JOB_INVALID, DATA_INVALID, FILE_UNREADABLE, WORKER_CONFIG_INVALID */
export function readAssignment(settings: Given): Assignment {
  const { jobFile, dataFile } = settings;
  const job = jobFile === undefined ? null : readJob(jobFile);
  const uid = settings.uid ?? job?.metadata.uid;
  if (uid === undefined)
    throw new OnebyteError('WORKER_CONFIG_INVALID', 'neither the environment nor the job file has a UID', {
      field: SERVICE_VARIABLES.uid,
      remedy: 'Set it to the UID of the job: it names the log.',
    });
  const folderOf = (file: string | undefined) =>
    resolve(settings.folder ?? (file === undefined ? '.' : dirname(file)));
  return {
    uid,
    text: job === null ? null : jobText(job),
    data: dataFile === undefined ? ownData(job!, settings) : readData(dataFile),
    dataFolder: folderOf(dataFile ?? jobFile),
    jobFolder: folderOf(jobFile ?? dataFile),
  };
}

/** @throws OnebyteError JOB_INVALID, FILE_UNREADABLE */
export function readJob(file: string): FineTuneJob {
  const { job, mistakes } = parseJobFile(readText(file));
  if (job !== undefined) return job;
  const lines = mistakes.map(({ line, path, message }) => `${file}:${line ?? 1}: ${path}: ${message}`);
  throw new OnebyteError('JOB_INVALID', lines.join('\n'), { field: mistakes[0]?.path ?? file });
}

function ownData(job: FineTuneJob, { group }: Given): Sources {
  const groups = job.spec.groups ?? [];
  if (group !== '' && !groups.some(({ name }) => name === group))
    throw new OnebyteError('WORKER_CONFIG_INVALID', `the job has no group '${group}'`, {
      field: SERVICE_VARIABLES.group,
      remedy: `Its groups are: ${groups.map(({ name }) => name).join(', ') || 'none'}.`,
    });
  return sourcesFor(job.spec, group);
}

/** A file of sources alone, for who holds data and no say in the job. */
function readData(file: string): Sources {
  const schema = SCHEMA.properties!.spec!.properties!.data!;
  let value: unknown;
  try {
    value = parse(readText(file));
  } catch (cause) {
    if (cause instanceof OnebyteError) throw cause;
    throw new OnebyteError('DATA_INVALID', `${file} is not YAML`, { field: file, cause });
  }
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
  const mistakes = isMapping ? check(schema, value) : [{ path: 'train', message: 'is missing' }];
  if (mistakes.length > 0)
    throw new OnebyteError(
      'DATA_INVALID',
      mistakes.map(({ path, message }) => `${file}: ${path}: ${message}`).join('\n'),
      { field: mistakes[0]!.path, remedy: 'Write it as spec.data of a job: train, validation and test.' },
    );
  const { train = [], validation = [], test = [] } = value as Partial<Record<Split, SourceSpec[]>>;
  return { train, validation, test };
}
