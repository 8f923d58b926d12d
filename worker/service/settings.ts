import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from '../data/cache.ts';
import { DEVICE_VARIABLE, type Device, deviceOf } from '../engine/device.ts';
import { OnebyteError } from '../errors.ts';
import { type NatsSettings, natsSettings } from '../nats/config.ts';
import { usableMemory } from '../process-settings.ts';

/** Environment variables of a worker, beside those in `worker/nats/config.ts`. */
export const SERVICE_VARIABLES = {
  /** The job file. Without it the job is the one in the log, and `data` says what to train on. */
  job: 'ONEBYTE_JOB',
  /** A file with `train`, `validation` and `test` sources, in place of those in the job file. */
  data: 'ONEBYTE_DATA',
  /** Folder that relative paths in these files begin at; by default, that of the file. */
  folder: 'ONEBYTE_FOLDER',
  /** The job's UID: names the log. By default, the job file's metadata.uid. */
  uid: 'ONEBYTE_JOB_UID',
  /** This worker's name, stable over its restarts: what credentials, batches and people know it by. */
  worker: 'ONEBYTE_WORKER',
  /** The group of the job that the worker belongs to; none for the workers of `spec.data`. */
  group: 'ONEBYTE_GROUP',
  /** Workers that a run without members waits for, for a while, before its first round. */
  minWorkers: 'ONEBYTE_MIN_WORKERS',
  /** Seconds that others have to begin a run that has no beginning yet, before this worker does. */
  headStartSeconds: 'ONEBYTE_HEAD_START_SECONDS',
  /** Where health and metrics are served: a port, 0 for any that is free; an address, by default all. */
  port: 'ONEBYTE_PORT',
  host: 'ONEBYTE_HOST',
  /** Folder for models and artifacts. */
  cache: 'ONEBYTE_CACHE',
  /** A folder for snapshots and artifacts that all workers share, in place of the store on NATS. */
  store: 'ONEBYTE_STORE',
  threads: 'ONEBYTE_THREADS',
  /** What forward passes run on: cpu, cuda, or auto for a GPU where there is one. */
  device: DEVICE_VARIABLE,
  /** Bytes that caches of the engine may take. */
  cacheBytes: 'ONEBYTE_CACHE_BYTES',
  /** Seconds that leaving may take once SIGTERM came. */
  leaveSeconds: 'ONEBYTE_LEAVE_SECONDS',
  /** Seconds that the engine may work on one call before the worker counts as hung. */
  engineSeconds: 'ONEBYTE_ENGINE_SECONDS',
  /** Where a fatal mistake is written down. */
  terminationLog: 'ONEBYTE_TERMINATION_LOG',
  logLevel: 'ONEBYTE_LOG_LEVEL',
} as const;

export interface ServiceSettings {
  readonly nats: NatsSettings;
  readonly jobFile: string | undefined;
  readonly dataFile: string | undefined;
  readonly folder: string | undefined;
  readonly uid: string | undefined;
  readonly worker: string;
  readonly group: string;
  readonly minWorkers: number;
  readonly headStartMs: number;
  readonly port: number;
  readonly host: string | undefined;
  readonly artifacts: string;
  /** Folder for snapshots of all runs and workers. */
  readonly snapshots: string;
  readonly store: string | undefined;
  readonly threads: number;
  readonly device: Device;
  readonly cacheBytes: number;
  readonly leaveMs: number;
  readonly engineMs: number;
}

export const DEFAULT_PORT = 9090;
export const DEFAULT_TERMINATION_LOG = '/dev/termination-log';
const DEFAULT_LEAVE_SECONDS = 20;
/** A share of an evaluation over a large data set on a slow machine takes minutes. */
const DEFAULT_ENGINE_SECONDS = 900;
/** Share of the memory that there is which caches may take. */
const CACHE_SHARE = 1 / 4;
const MAX_NAME = 253;

type Environment = Readonly<Record<string, string | undefined>>;
type Name = keyof typeof SERVICE_VARIABLES;

/** Reads a worker's environment. @throws OnebyteError WORKER_CONFIG_INVALID, NATS_CONFIG_INVALID, naming every mistake */
export function serviceSettings(env: Environment): ServiceSettings {
  const wrong: string[] = [];
  const complain = (name: Name, what: string) => void wrong.push(`${SERVICE_VARIABLES[name]}: ${what}`);
  const text = (name: Name) => env[SERVICE_VARIABLES[name]] || undefined;
  const number = (name: Name, fallback: number, min: number, max: number): number => {
    const given = text(name);
    if (given === undefined) return fallback;
    const value = Number(given);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    complain(name, `has to be a whole number from ${min} to ${max}, and is '${given}'`);
    return fallback;
  };
  const file = (name: Name) => {
    const path = text(name);
    if (path !== undefined && !existsSync(path)) complain(name, `there is no ${path}`);
    return path;
  };
  const [jobFile, dataFile, folder] = [file('job'), file('data'), file('folder')];
  if (jobFile === undefined && dataFile === undefined)
    complain(
      'job',
      `is missing, and so is ${SERVICE_VARIABLES.data}: one of them says what data to train on`,
    );
  if (jobFile === undefined && text('uid') === undefined)
    complain('uid', 'is missing: without a job file, it alone says which run to join');
  const worker = text('worker') ?? hostname();
  if (worker.length > MAX_NAME) complain('worker', `is longer than ${MAX_NAME} characters`);
  const settings = {
    jobFile,
    dataFile,
    folder,
    uid: text('uid'),
    worker,
    group: text('group') ?? '',
    minWorkers: number('minWorkers', 1, 1, 1024),
    headStartMs: 1000 * number('headStartSeconds', 0, 0, 3600),
    port: number('port', DEFAULT_PORT, 0, 65535),
    host: text('host'),
    artifacts: join(cacheFolder(env), 'artifacts'),
    snapshots: join(cacheFolder(env), 'snapshots'),
    store: text('store'),
    threads: number('threads', availableParallelism(), 1, 1024),
    cacheBytes: number('cacheBytes', Math.floor(usableMemory() * CACHE_SHARE), 0, Number.MAX_SAFE_INTEGER),
    leaveMs: 1000 * number('leaveSeconds', DEFAULT_LEAVE_SECONDS, 1, 3600),
    engineMs: 1000 * number('engineSeconds', DEFAULT_ENGINE_SECONDS, 1, 86_400),
  };
  if (wrong.length > 0)
    throw new OnebyteError(
      'WORKER_CONFIG_INVALID',
      `the worker is not set up right:\n  ${wrong.join('\n  ')}`,
      {
        field: wrong[0]!.split(':')[0]!,
        remedy: 'Set these variables; the operator sets them all.',
      },
    );
  return { ...settings, device: deviceOf(text('device')), nats: natsSettings(env) };
}

/** A file's text. @throws OnebyteError FILE_UNREADABLE */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OnebyteError('FILE_UNREADABLE', `${path} cannot be read`, { field: path, cause });
  }
}
