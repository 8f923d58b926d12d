import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { modelOf } from '../engine/job-model.ts';
import { prepareApart } from '../engine/prepare-apart.ts';
import { ThreadedEngine } from '../engine/threaded.ts';
import { OnebyteError } from '../errors.ts';
import { needsBasis } from '../journal/job.ts';
import { parseJob } from '../journal/job-text.ts';
import type { GenesisRecord } from '../journal/record.ts';
import { type Log, LogUnavailable } from '../log/log.ts';
import type { ApiOptions } from '../nats/api.ts';
import { type JobNames, token } from '../nats/names.ts';
import { NatsStore } from '../nats/store.ts';
import { FolderStore } from '../store/folder.ts';
import type { Store } from '../store/store.ts';
import { type Assignment, checkJob } from './assignment.ts';
import { type Beginning, findGenesis } from './genesis.ts';
import { fetchArtifacts, type Landing, land, publishArtifacts } from './join.ts';
import type { Preparers } from './preparers.ts';
import type { ServiceSettings } from './settings.ts';

/** All that leads from an assignment to an engine at the run's state. */
export interface Opening {
  readonly settings: ServiceSettings;
  readonly assignment: Assignment;
  readonly names: JobNames;
  readonly log: Log;
  readonly preparers: Preparers;
  readonly logger: Logger;
  /** Aborts once the worker is asked to leave. */
  readonly signal: AbortSignal;
  /** Is told what comes next. */
  readonly phase: (text: string) => void;
}

const PAUSE = 500;

/** Where the run keeps snapshots and artifacts; null: nowhere. */
export async function openStore(
  opening: Opening,
  connection: NatsConnection,
  api: ApiOptions,
): Promise<Store | null> {
  const { settings, names, logger } = opening;
  if (settings.store !== undefined) return new FolderStore(settings.store, token(names.uid));
  const store = await patiently(opening, () => NatsStore.find(connection, names, api));
  if (store === null) logger.warn('there is no store for snapshots: newcomers follow the whole log');
  return store;
}

/** Model, genesis and engine. A run that has none begins with what the job file says. */
export async function openEngine(
  opening: Opening,
  store: Store | null,
): Promise<{ genesis: GenesisRecord; engine: ThreadedEngine }> {
  const { settings, assignment, log, preparers, logger, signal, phase } = opening;
  const { worker, threads, device, artifacts, cacheBytes, headStartMs } = settings;
  const { uid, text, jobFolder, dataFolder, data } = assignment;
  const note = (line: string) => logger.info(line);
  const folders = new Map<string, Promise<string>>();
  // Who prepares the run asks twice, and a large file is read for each answer.
  const modelFor = (job: string) => {
    const known = folders.get(job) ?? modelOf(job, { folder: jobFolder, log: note });
    folders.set(job, known);
    return known;
  };
  const make: Beginning['make'] =
    text === null
      ? null
      : async () => {
          if (store === null && needsBasis(parseJob(text).job)) throw storeless('there is no store');
          phase('preparing a new run');
          const preparation = { jobText: text, uid, folder: jobFolder, artifacts, threads, log: note };
          const made = (await prepareApart(await modelFor(text), preparation)).genesis;
          // Making it takes much longer than any line does.
          const publish = () => (store === null ? [] : publishArtifacts(made, artifacts, store));
          const refused = await patiently(opening, async () => publish());
          if (refused.length > 0) throw storeless(`the store has no room for ${refused.join(', ')}`);
          return made;
        };
  phase('looking for the beginning of the run');
  const genesis = await findGenesis({ log, uid, make, headStartMs, preparers, signal });
  checkJob(assignment, genesis);
  phase('fetching the model');
  const modelDir = await modelFor(genesis.job);
  if (store !== null) await patiently(opening, () => fetchArtifacts(genesis, [artifacts], store));
  phase('opening the engine');
  logger.info({ device, threads }, 'forward passes');
  const engine = await ThreadedEngine.open({
    genesis,
    member: worker,
    modelDir,
    artifacts: [artifacts],
    data,
    folder: dataFolder,
    threads,
    memoryBudgetBytes: cacheBytes,
    snapshots: snapshotsOf(opening),
  });
  return { genesis, engine };
}

/** A run whose basis only the worker that made it has is not to begin. */
function storeless(why: string): OnebyteError {
  return new OnebyteError('STORE_MISSING', `other workers could not get the activation basis: ${why}`, {
    field: 'spec.method.plan',
    remedy:
      "raise the chart's nats.storeMaxBytes, name a folder that all workers share in ONEBYTE_STORE, or choose basis.type random",
  });
}

/** Takes the engine to the newest snapshot there is; null: it is at the start. */
export function landOn(
  opening: Opening,
  store: Store,
  genesis: GenesisRecord,
  engine: ThreadedEngine,
): Promise<Landing | null> {
  const { log, logger, phase } = opening;
  phase('looking for a snapshot');
  const search = { log, store, genesis, folder: snapshotsOf(opening), logger };
  return patiently(opening, () => land(search, engine));
}

function snapshotsOf({ settings, names }: Opening): string {
  return join(settings.snapshots, token(names.uid), token(settings.worker));
}

/** Again and again while nobody answers. */
export async function patiently<T>(
  { signal, logger }: Pick<Opening, 'signal' | 'logger'>,
  call: () => Promise<T>,
): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof LogUnavailable)) throw error;
      logger.warn(error.message);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}
