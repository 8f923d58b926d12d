/** An operator in this process, logs in memory and a stand-in for kubelets, over a real API server. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import type { LogPort } from '../../../operator/jobs/log-port.ts';
import { OWN_SELECTOR } from '../../../operator/jobs/names.ts';
import {
  type Client,
  Conflict,
  type KubeObject,
  loadConfig,
  NotFound,
  namespaced,
  type Pod,
  pods,
  realClock,
  type WriteGuard,
} from '../../../operator/kube/mod.ts';
import { operate } from '../../../operator/main.ts';
import { type OperatorSettings, operatorSettings } from '../../../operator/settings.ts';
import type { Cluster } from '../../cluster/cluster.ts';
import { until } from '../kube/setup.ts';
import { type PodState, podStatus } from './builder.ts';

export { MemoryLogs } from './memory-logs.ts';

interface Binding extends KubeObject {
  readonly target: { readonly kind: string; readonly name: string };
}
const bindings = namespaced<Binding>('v1', 'Binding', 'bindings');

export interface Running {
  /** Ends it in order. */
  stop(): Promise<void>;
  /** Resolves when it leads; rejects when it ends before. */
  readonly leading: Promise<void>;
  /** How it ended: undefined, or the error. */
  readonly ended: Promise<unknown>;
}

export interface StartOptions {
  readonly settings?: Partial<OperatorSettings>;
  readonly env?: Record<string, string>;
  readonly mayWrite?: WriteGuard;
  readonly kubeconfig?: string;
  readonly logLevel?: string;
  readonly onServing?: (port: number) => void;
}

export async function startOperator(
  cluster: Cluster,
  port: LogPort,
  options: StartOptions = {},
): Promise<Running> {
  const env = {
    ONEBYTE_IMAGE: 'onebyte:1',
    ONEBYTE_NATS_URL: 'nats://nats:4222',
    ONEBYTE_LEADER_ELECTION: 'false',
    ONEBYTE_PORT: '0',
    ONEBYTE_HOST: '127.0.0.1',
    ONEBYTE_POLL_SECONDS: '1',
    ...options.env,
  };
  const settings = { ...operatorSettings(env), pollMs: 50, ...options.settings };
  const ender = new AbortController();
  const leads = Promise.withResolvers<void>();
  leads.promise.catch(() => undefined);
  const config = await loadConfig({ clock: realClock, kubeconfig: options.kubeconfig ?? cluster.kubeconfig });
  const life = operate({
    settings,
    port,
    config,
    logger: pino({ level: options.logLevel ?? process.env.OPERATOR_LOG ?? 'silent' }),
    version: 'test',
    signal: ender.signal,
    onLeading: () => leads.resolve(),
    ...(options.onServing && { onServing: options.onServing }),
    ...(options.mayWrite && { mayWrite: options.mayWrite }),
  });
  const ended = life.then(
    () => undefined,
    (error: unknown) => error,
  );
  void ended.then((error) => leads.reject(error ?? new Error('ended')));
  return {
    leading: leads.promise,
    ended,
    stop: async () => {
      ender.abort();
      const error = await ended;
      if (error !== undefined) throw error;
    },
  };
}

/**
 * Does for pods what kubelets would: those that are pending become `state`, those that are being deleted go. Pods are bound
 * to a node that is not there, so that they leave in their own time.
 */
export class Kubelets {
  readonly #client: Client;
  readonly #ender = new AbortController();
  readonly #loop: Promise<void>;
  state: PodState | ((pod: Pod) => PodState | null) = 'joined';
  /** Pods that are leaving stay until this is false. */
  isHolding = false;
  /** Names in the order in which they went. */
  readonly gone: string[] = [];
  /** Most pods that were leaving at one time. */
  mostLeaving = 0;

  constructor(client: Client) {
    this.#client = client;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#ender.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#ender.signal.aborted) {
      const all = await this.#client.listAll(pods, { labelSelector: OWN_SELECTOR });
      const leaving = all.filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
      this.mostLeaving = Math.max(this.mostLeaving, leaving.length);
      await Promise.all([
        ...leaving.map((pod) => this.#end(pod)),
        ...all.filter((pod) => pod.metadata.deletionTimestamp === undefined).map((pod) => this.#start(pod)),
      ]);
      await realClock.sleep(20);
    }
  }

  async #end(pod: Pod): Promise<void> {
    if (this.isHolding) return;
    const { namespace = '', name, uid = '' } = pod.metadata;
    await this.#client
      .delete(pods, { namespace, name }, { uid, gracePeriodSeconds: 0 })
      .then(() => this.gone.push(name))
      .catch(() => undefined);
  }

  async #start(pod: Pod): Promise<void> {
    const { namespace = '', name } = pod.metadata;
    if (pod.status?.phase !== 'Pending' || pod.status.conditions?.some(({ type }) => type === 'Ready'))
      return;
    const state = typeof this.state === 'function' ? this.state(pod) : this.state;
    if (state === null) return;
    try {
      if (pod.spec?.nodeName === undefined && state !== 'unschedulable' && state !== 'gated')
        await this.#client.create(bindings, {
          metadata: { namespace, name },
          target: { kind: 'Node', name: 'nowhere' },
        });
      await this.#client.patchStatus(pods, { namespace, name }, podStatus(state));
    } catch (error) {
      // It has gone, or is on its way.
      if (!(error instanceof NotFound || error instanceof Conflict)) throw error;
    }
  }

  /** Sets a pod's status. */
  async set(at: { namespace: string; name: string }, state: PodState): Promise<void> {
    await this.#client.patchStatus(pods, at, podStatus(state));
  }
}

export async function applyCrd(cluster: Cluster): Promise<void> {
  const crd = join(import.meta.dirname, '..', '..', '..', 'crds', 'finetunejob.yaml');
  await cluster.kubectl(['apply', '-f', '-'], await readFile(crd, 'utf8'));
  await until('the API is served', () =>
    cluster.kubectl(['get', 'finetunejobs']).then(
      () => true,
      () => false,
    ),
  );
}

export const getJob = (client: Client, name: string, namespace = 'default'): Promise<Job> =>
  client.get(fineTuneJobs, { namespace, name });

export const podsOf = async (client: Client, job: string, namespace = 'default'): Promise<Pod[]> => {
  const all = await client.listAll(pods, { namespace, labelSelector: `onebyte.dev/job=${job}` });
  return all.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
};

/** `Status Reason` of a condition. */
export const conditionText = (job: Job, type: string): string => {
  const found = job.status?.conditions?.find((condition) => condition.type === type);
  return `${found?.status} ${found?.reason}`;
};
