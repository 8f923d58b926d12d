import type { NatsConnection } from '@nats-io/transport-node';
import { OnebyteError } from '../errors.ts';
import { LogUnavailable } from '../log/log.ts';
import { API_CODES, Api, ApiError, type ApiOptions } from './api.ts';
import { unavailable } from './failure.ts';
import { type JobNames, METADATA, STREAM_FORMAT } from './names.ts';

export interface StreamOptions extends ApiOptions {
  /** Bytes that the log may take on each server that holds it. */
  readonly maxBytes: number;
  /** Servers that hold a copy: 1, 3 or 5. */
  readonly replicas?: number;
  /** Bytes that snapshots and artifacts may take, kept on as many servers; 0: there are to be none. */
  readonly storeBytes?: number;
  /** Whether the run cannot begin without what workers find in the store: where there is no log yet, it comes first. */
  readonly needsStore?: boolean;
}

/** The part of a stream's configuration that matters here. Names and units as the server has them. */
interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: string;
  readonly storage: string;
  readonly discard: string;
  readonly max_bytes: number;
  readonly max_msgs: number;
  readonly max_age: number;
  readonly max_msgs_per_subject: number;
  readonly max_consumers: number;
  readonly num_replicas: number;
  /** Nanoseconds. */
  readonly duplicate_window: number;
  readonly allow_direct: boolean;
  readonly deny_delete: boolean;
  readonly deny_purge: boolean;
  readonly republish?: { readonly src: string; readonly dest: string; readonly headers_only?: boolean };
  readonly metadata: Readonly<Record<string, string>>;
}

export interface StreamInfo {
  readonly config: Partial<StreamConfig>;
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly last_seq: number;
    /** When the last entry came, by the server's clock. */
    readonly last_ts: string;
  };
}

/** Room for two snapshots of a model with ten million weights that are trained, and for one that is written. */
const STORE_BYTES = 128 << 20;
/** Nothing of ours needs a consumer; one is left for people who look at a log with other tools. */
const MAX_CONSUMERS = 1;
const DUPLICATE_WINDOW_NS = 120e9;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 2000;

/**
 * A log that keeps everything: full means no more appends, and nothing in it can be deleted. What it stores the server
 * republishes on the job's tail subject, so that any number of readers costs it one message.
 */
function streamConfig(names: JobNames, { maxBytes, replicas }: StreamOptions): StreamConfig {
  return {
    name: names.stream,
    subjects: [names.log],
    retention: 'limits',
    storage: 'file',
    discard: 'new',
    max_bytes: maxBytes,
    max_msgs: -1,
    max_age: 0,
    max_msgs_per_subject: -1,
    max_consumers: MAX_CONSUMERS,
    num_replicas: replicas ?? 1,
    duplicate_window: DUPLICATE_WINDOW_NS,
    allow_direct: true,
    deny_delete: true,
    deny_purge: true,
    republish: { src: names.log, dest: names.tail },
    metadata: { [METADATA.format]: STREAM_FORMAT, [METADATA.uid]: names.uid },
  };
}

/** Pieces of snapshots and artifacts, each in the place of the one before it. Losing it costs time alone. */
function storeConfig(names: JobNames, { storeBytes = STORE_BYTES, replicas }: StreamOptions): StreamConfig {
  const { republish: _, ...config } = streamConfig(names, { maxBytes: storeBytes, ...given({ replicas }) });
  return { ...config, name: names.storeStream, subjects: [`${names.store}.>`], max_msgs_per_subject: 1 };
}

function given({ replicas }: { replicas: number | undefined }): { replicas?: number } {
  return replicas === undefined ? {} : { replicas };
}

/**
 * Makes a job's log and its store, or finds them made; what exists may be given more room or other copies.
 * @throws OnebyteError NATS_STREAM_INVALID where the server has another stream by that name, or cannot keep this one, or a
 *   store that a new log needs: there is no log then either; NATS_DENIED; LogUnavailable.
 */
export async function createStream(
  connection: NatsConnection,
  names: JobNames,
  options: StreamOptions,
): Promise<StreamInfo> {
  const api = new Api(connection, options);
  const { storeBytes } = options;
  const found = await streamInfo(api, names.stream);
  // A job that has a log goes on to its workers, so that what they need comes first; what they can do without takes what is left.
  const needsStore = options.needsStore === true && found === null;
  const store = async () => {
    if (storeBytes !== 0) await createStore(api, names, { ...options, needsStore });
  };
  if (needsStore) await store();
  const log = await createLog(api, names, found, options);
  if (!needsStore) await store();
  return log;
}

async function createLog(
  api: Api,
  names: JobNames,
  found: StreamInfo | null,
  options: StreamOptions,
): Promise<StreamInfo> {
  const wanted = streamConfig(names, options);
  if (found === null) return modern(await change(api, 'CREATE', wanted));
  refuse(names, mistakes(found.config, names));
  return enlarge(api, found, wanted);
}

/**
 * Where the account has no room for it, a run that can does without: newcomers then follow the whole log. One that is
 * there stays as it is where it cannot be had otherwise.
 */
async function createStore(api: Api, names: JobNames, options: StreamOptions): Promise<void> {
  const wanted = storeConfig(names, options);
  const found = await streamInfo(api, names.storeStream);
  try {
    if (found === null) await change(api, 'CREATE', wanted);
    else await enlarge(api, found, wanted);
  } catch (error) {
    if (!(error instanceof OnebyteError) || error.code !== 'NATS_STREAM_INVALID') throw error;
    if (found !== null || !options.needsStore) return;
    const why = 'workers are to find the activation basis there';
    const way =
      'give the account more room, the workers a folder that all share (ONEBYTE_STORE), or the job a random basis';
    throw new OnebyteError(error.code, `${error.message}; ${why}: ${way}`, { cause: error.cause });
  }
}

/** Gives a stream the room and the copies that are wanted, where it has others. */
async function enlarge(api: Api, found: StreamInfo, wanted: StreamConfig): Promise<StreamInfo> {
  const { max_bytes = 0, num_replicas } = found.config;
  if (max_bytes >= wanted.max_bytes && num_replicas === wanted.num_replicas) return found;
  return change(api, 'UPDATE', { ...wanted, max_bytes: Math.max(max_bytes, wanted.max_bytes) });
}

async function change(api: Api, what: 'CREATE' | 'UPDATE', config: StreamConfig): Promise<StreamInfo> {
  try {
    return await api.call<StreamInfo>(`STREAM.${what}.${config.name}`, config);
  } catch (cause) {
    if (!(cause instanceof ApiError)) throw cause;
    if (cause.code === API_CODES.streamExists) throw unavailable('the stream was made meanwhile', cause);
    throw new OnebyteError('NATS_STREAM_INVALID', `NATS will not keep ${config.name}: ${cause.message}`, {
      cause,
      remedy: "Check the account's JetStream limits, the log's size and its number of replicas.",
    });
  }
}

/** Removes a job's log for good, with its snapshots and artifacts. @returns whether there was one */
export async function deleteStream(
  connection: NatsConnection,
  names: JobNames,
  options: ApiOptions = {},
): Promise<boolean> {
  const api = new Api(connection, options);
  const remove = async (stream: string): Promise<boolean> => {
    try {
      await api.call(`STREAM.DELETE.${stream}`);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.code === API_CODES.streamMissing) return false;
      throw error;
    }
  };
  await remove(names.storeStream);
  return remove(names.stream);
}

/**
 * Finds a job's log and checks that it is one of this program's.
 * @throws OnebyteError NATS_STREAM_MISSING, NATS_STREAM_INVALID, NATS_VERSION, NATS_DENIED; LogUnavailable.
 */
export async function checkStream(
  connection: NatsConnection,
  names: JobNames,
  options: ApiOptions = {},
): Promise<StreamInfo> {
  const info = await streamInfo(new Api(connection, options), names.stream);
  if (info === null)
    throw new OnebyteError('NATS_STREAM_MISSING', `NATS has no stream ${names.stream}`, {
      remedy:
        'The operator makes it with the job: check the job, its UID, and the account of these credentials.',
    });
  refuse(names, mistakes(info.config, names));
  return modern(info);
}

/** Servers say who they are in a stream's metadata since they can read in batches, which is needed here. */
function modern(info: StreamInfo): StreamInfo {
  if (info.config.metadata?.['_nats.ver'] !== undefined) return info;
  throw new OnebyteError('NATS_VERSION', 'the NATS server is older than 2.11', {
    remedy: 'Upgrade it: onebyte reads logs by batched direct access, which 2.11 introduced.',
  });
}

/** `checkStream`, as soon as there is something to check: the stream may be on its way. */
export async function waitForStream(
  connection: NatsConnection,
  names: JobNames,
  signal: AbortSignal,
  options: ApiOptions = {},
): Promise<StreamInfo> {
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    signal.throwIfAborted();
    try {
      return await checkStream(connection, names, options);
    } catch (error) {
      const missing = error instanceof OnebyteError && error.code === 'NATS_STREAM_MISSING';
      if (!missing && !(error instanceof LogUnavailable && !connection.isClosed())) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

/** Null where there is no such stream. */
async function streamInfo(api: Api, stream: string): Promise<StreamInfo | null> {
  try {
    return await api.call<StreamInfo>(`STREAM.INFO.${stream}`);
  } catch (error) {
    if (error instanceof ApiError && error.code === API_CODES.streamMissing) return null;
    if (error instanceof ApiError && error.code === API_CODES.noJetStream)
      throw new OnebyteError('NATS_STREAM_MISSING', 'JetStream is off for this account', {
        cause: error,
        remedy: 'Turn JetStream on in the server and for the account of these credentials.',
      });
    throw error;
  }
}

/** What is wrong with a stream, in words. Pure. */
export function mistakes(config: Partial<StreamConfig>, names: JobNames): string[] {
  const { metadata = {}, republish } = config;
  const format = metadata[METADATA.format];
  if (format !== STREAM_FORMAT)
    return [`it is of format ${format ?? 'unknown'}, this program writes format ${STREAM_FORMAT}`];
  const wrong: string[] = [];
  const expect = (good: boolean, what: string) => void (good || wrong.push(what));
  expect(metadata[METADATA.uid] === names.uid, `it belongs to job ${metadata[METADATA.uid]}`);
  expect(
    config.subjects?.length === 1 && config.subjects[0] === names.log,
    `its subject is not ${names.log}`,
  );
  expect(republish?.dest === names.tail && !republish.headers_only, `it does not republish to ${names.tail}`);
  expect(config.allow_direct === true, 'it has no direct access');
  expect(config.discard === 'new', 'it discards old entries');
  expect(config.retention === 'limits', `its retention is ${config.retention}`);
  expect((config.max_age ?? 0) === 0, 'its entries expire');
  expect((config.max_msgs_per_subject ?? -1) <= 0, 'it limits entries');
  expect(config.deny_delete === true, 'its entries can be deleted');
  expect(config.deny_purge === true, 'it can be purged');
  return wrong;
}

function refuse(names: JobNames, wrong: readonly string[]): void {
  if (wrong.length === 0) return;
  throw new OnebyteError('NATS_STREAM_INVALID', `${names.stream} is not a log of ours: ${wrong.join('; ')}`, {
    remedy: 'Use the version of onebyte that made it, or delete the stream and start the job anew.',
  });
}
