import type { NatsConnection } from '@nats-io/transport-node';
import { OnebyteError } from '../errors.ts';
import { NatsLog } from '../log/nats.ts';
import { Api, type ApiOptions } from './api.ts';
import { DEFAULT_PREFIX, type JobNames, jobNames, METADATA } from './names.ts';
import { checkStream, type StreamInfo } from './stream.ts';

export interface FindOptions extends ApiOptions {
  readonly prefix?: string;
  /** The name and the start of the run in a log, from its first entries; null where it has none yet. */
  readonly describe: (log: NatsLog) => Promise<{ readonly name: string; readonly at: number } | null>;
}

export interface Found {
  readonly names: JobNames;
  readonly info: StreamInfo;
}

/**
 * The run that a person means: by the job's UID, or by its name, and then the one that began last. Looking for a name
 * takes the right to list an account's streams.
 * @throws OnebyteError NATS_STREAM_MISSING, NATS_STREAM_INVALID, NATS_DENIED; LogUnavailable
 */
export async function findRun(connection: NatsConnection, job: string, options: FindOptions): Promise<Found> {
  const { prefix = DEFAULT_PREFIX, describe } = options;
  const names = jobNames(job, prefix);
  try {
    return { names, info: await checkStream(connection, names, options) };
  } catch (error) {
    if (!(error instanceof OnebyteError) || !/^NATS_(STREAM_MISSING|DENIED)$/.test(error.code)) throw error;
  }
  let best: { readonly names: JobNames; readonly at: number } | null = null;
  for (const uid of await listRuns(connection, prefix, options)) {
    const candidate = jobNames(uid, prefix);
    const described = await describe(new NatsLog(connection, candidate, options));
    if (described?.name === job && (best === null || described.at > best.at))
      best = { names: candidate, at: described.at };
  }
  if (best === null)
    throw new OnebyteError('NATS_STREAM_MISSING', `no run on this server has the UID or the name ${job}`, {
      field: 'JOB',
      remedy: 'Give the UID of the job, or the directory of a run of onebyte run --nats; check the account.',
    });
  return { names: best.names, info: await checkStream(connection, best.names, options) };
}

interface Page {
  readonly total: number;
  readonly offset: number;
  readonly streams: readonly StreamInfo[] | null;
}

/** UIDs of all runs that an account has logs of. */
async function listRuns(connection: NatsConnection, prefix: string, options: ApiOptions): Promise<string[]> {
  const api = new Api(connection, options);
  const uids: string[] = [];
  for (let offset = 0; ; ) {
    const { total, streams } = await api.call<Page>('STREAM.LIST', { subject: `${prefix}.*.log`, offset });
    for (const { config } of streams ?? []) {
      const uid = config.metadata?.[METADATA.uid];
      if (uid !== undefined) uids.push(uid);
    }
    offset += streams?.length ?? 0;
    if (offset >= total || !streams?.length) return uids;
  }
}
