/** The operator program: everything between its environment and its end. `onebyte operator` runs it. */
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { ChildIndex } from './jobs/child-index.ts';
import { Executor } from './jobs/execute.ts';
import { fineTuneJobs, type Job } from './jobs/job.ts';
import type { LogPort } from './jobs/log-port.ts';
import { FIELD_MANAGER, LEASE, MANAGER, OWN_SELECTOR } from './jobs/names.ts';
import { LogPoller } from './jobs/poller.ts';
import { Reconciler } from './jobs/reconciler.ts';
import { trimPod } from './jobs/worker.ts';
import {
  Client,
  type Clock,
  type ClusterConfig,
  Controller,
  controllerUid,
  Elector,
  HealthServer,
  Informer,
  KubeMetrics,
  keyOf,
  loadConfig,
  type Pod,
  pods,
  type Random,
  Recorder,
  realClock,
  runOperator,
  stopSignal,
  WorkQueue,
  type WriteGuard,
} from './kube/mod.ts';
import { OperatorMetrics } from './metrics/jobs.ts';
import type { OperatorSettings } from './settings.ts';

export interface OperatorOptions {
  readonly settings: OperatorSettings;
  readonly port: LogPort;
  readonly logger: Logger;
  readonly version: string;
  readonly config?: ClusterConfig;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Ends the operator in order; default: SIGTERM and SIGINT. */
  readonly signal?: AbortSignal;
  /** Asked before every change, beside the lease; for tests that end an operator between two calls. */
  readonly mayWrite?: WriteGuard;
  /** Told when the stores are filled and this process leads. */
  readonly onLeading?: () => void;
  /** Told where health and metrics are served. */
  readonly onServing?: (port: number) => void;
}

/** Event loop lag above which the process counts as hung. */
const LAG_LIMIT = 5_000;
const LAG_LOOK = 500;

/** Runs the operator until it is told to stop. Rejects when the lease is lost or the stores cannot be filled. */
export async function operate(options: OperatorOptions): Promise<void> {
  const { settings, port, logger, version, clock = realClock, random = Math.random } = options;
  const signal = options.signal ?? stopSignal();
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const kube = new KubeMetrics(registry);
  const { accountFolder } = settings;
  const config = options.config ?? (await loadConfig({ clock, ...(accountFolder && { accountFolder }) }));
  const client = new Client({
    config,
    clock,
    random,
    fieldManager: FIELD_MANAGER,
    userAgent: `onebyte-operator/${version}`,
    inFlight: settings.callsAtOnce,
    onAttempt: kube.onAttempt,
  });
  const identity = settings.identity ?? hostname();
  const elector = settings.elects
    ? new Elector({
        client,
        clock,
        random,
        namespace: settings.namespace ?? config.namespace,
        name: LEASE,
        identity: `${identity}_${Math.floor(random() * 2 ** 32).toString(16)}`,
        // A pod has one container at a time: whoever held the lease under its name was killed.
        hasEnded: (holder) => settings.identity !== undefined && holder.startsWith(`${settings.identity}_`),
        ...settings.lease,
        on: {
          holder: (holder) => logger.info({ holder }, 'the lease has another holder'),
          failed: (error) => logger.warn({ error: text(error) }, 'lease'),
        },
      })
    : undefined;
  const leader = client.guarded((change) => {
    if (elector !== undefined && !elector.isLeading) return 'not the leader';
    return options.mayWrite?.(change);
  });
  const recorder = new Recorder({
    client: leader,
    clock,
    random,
    controller: MANAGER,
    instance: identity,
    on: kube.events,
  });

  const queue = new WorkQueue({ clock, observer: kube.queueObserver('finetunejob') });
  const common = { client, clock, random, scope: settings.scope };
  const jobs = new Informer<Job>({
    ...common,
    resource: fineTuneJobs,
    on: kube.reflectorEvents('finetunejobs'),
  });
  const workers = new Informer<Pod>({
    ...common,
    resource: pods,
    labelSelector: OWN_SELECTOR,
    trim: trimPod,
    indexes: { owner: controllerUid },
    on: kube.reflectorEvents('pods'),
  });
  const metrics = new OperatorMetrics(registry, () => jobs.store.values(), version);
  const enqueueAll = () => {
    for (const key of jobs.store.keys()) queue.add(key);
  };
  const children = new ChildIndex({
    client,
    clock,
    scope: settings.scope,
    refreshed: enqueueAll,
    failed: (error) => logger.warn({ error: text(error) }, 'cannot list the objects of jobs'),
  });
  const poller = new LogPoller({
    port,
    clock,
    everyMs: settings.pollMs,
    changed: ({ namespace, name }) => queue.add(keyOf({ metadata: { namespace, name } })),
    on: metrics.poller,
  });
  const executor = new Executor({
    client: leader,
    clock,
    port,
    poller,
    children,
    settings: settings.pods,
    on: metrics.executor,
  });
  const reconciler = new Reconciler({
    client: leader,
    clock,
    jobs: jobs.store,
    pods: workers.store,
    children,
    poller,
    executor,
    recorder,
    enqueue: (key) => queue.add(key),
  });
  const counted = kube.controllerObserver('finetunejob');
  const controller = new Controller({
    queue,
    clock,
    concurrency: settings.concurrency,
    reconcile: reconciler.reconcile,
    observer: {
      ...counted,
      failed: (key, pass, error, kind) => {
        counted.failed?.(key, pass, error, kind);
        logger.warn({ job: key, pass, kind, error: text(error) }, 'a pass failed');
      },
    },
  });
  kube.sampleController('finetunejob', controller, queue);
  kube.sampleStore('finetunejobs', () => jobs.store.size);
  kube.sampleStore('pods', () => workers.store.size);
  kube.sampleLeader(LEASE, () => elector?.isLeading ?? true);

  const lag = watchLag(clock);
  const health = new HealthServer({
    live: {
      'event loop': () => (lag.ms() > LAG_LIMIT ? `stood still for ${Math.round(lag.ms())} ms` : undefined),
    },
    ready: { stores: () => (jobs.isSynced && workers.isSynced ? undefined : 'not filled yet') },
    registry,
  });
  const served = await health.listen(settings.port, settings.host);
  options.onServing?.(served);
  logger.info(
    { port: served, namespaces: settings.scope.namespaces ?? 'all' },
    'health and metrics are served',
  );
  // What only a leader does runs while its controllers do.
  const leading = {
    run: async (work: AbortSignal) => {
      logger.info('leading');
      options.onLeading?.();
      await Promise.all([controller.run(work), poller.run(work)]);
    },
  };
  try {
    const parts = { client, clock, informers: [jobs, workers, children], controllers: [leading], recorder };
    await runOperator({ ...parts, ...(elector && { elector }) }, signal);
  } finally {
    lag.stop();
    await health.close();
    await port.close();
  }
}

/** How late timers run. */
function watchLag(clock: Clock): { ms(): number; stop(): void } {
  let looked = clock.monotonic();
  const timer = setInterval(() => {
    looked = clock.monotonic();
  }, LAG_LOOK);
  timer.unref();
  return { ms: () => clock.monotonic() - looked - LAG_LOOK, stop: () => clearInterval(timer) };
}

function text(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
