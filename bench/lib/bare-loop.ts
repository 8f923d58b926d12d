/** What an API server takes from a loop that thinks nothing: the same objects, as many calls at once. */
import { inParallel } from '../../operator/jobs/calls.ts';
import { CHILD_RESOURCES, childrenOf } from '../../operator/jobs/children.ts';
import { fineTuneJobs, type Job } from '../../operator/jobs/job.ts';
import { FINALIZER } from '../../operator/jobs/names.ts';
import { workerPod } from '../../operator/jobs/pod.ts';
import { type Client, events, type KubeObject, microTime, type Pod, pods } from '../../operator/kube/mod.ts';
import { manifest } from '../../test/operator/jobs/builder.ts';

export interface BareLoopOptions {
  /** Of the operator's account: whom the server knows decides how it queues and checks a call. */
  readonly client: Client;
  /** As the operator's. */
  readonly callsAtOnce: number;
  readonly workers: number;
  readonly natsUrl: string;
}

export class BareLoop {
  readonly #options: BareLoopOptions;
  #round = 0;

  constructor(options: BareLoopOptions) {
    this.#options = options;
  }

  /** Makes so many pods. @returns pods a second */
  async pods(count: number): Promise<number> {
    const { client } = this.#options;
    const names = Array.from({ length: count }, (_, index) => `bare-${index}`);
    const template = this.#job('bare');
    const all = names.map((name, index) => this.#pod(template, name, index));
    const seconds = await timed(() => this.#inParallel(all, (pod) => client.create(pods, pod)));
    await this.#inParallel(all, (pod) => client.delete(pods, pod.metadata, { gracePeriodSeconds: 0 }));
    return count / seconds;
  }

  /**
   * Makes all that the operator makes for so many jobs, by the same calls: finalizer, four objects, pods, status, event.
   * The jobs are another controller's, so that the operator leaves them alone.
   *
   * @returns pods and objects beside them, a second
   */
  async jobs(count: number): Promise<number> {
    const { client, workers } = this.#options;
    const round = this.#round++;
    const drafts = Array.from({ length: count }, (_, i) => this.#job(`bare-${round}-${i}`));
    const made: Job[] = [];
    await this.#inParallel(drafts, async (job) => made.push(await client.create(fineTuneJobs, job)));
    const seconds = await timed(() => this.#inParallel(made, (job) => this.#furnish(job)));
    await this.#inParallel(made, (job) => this.#remove(job));
    return (count * (workers + Object.keys(CHILD_RESOURCES).length)) / seconds;
  }

  async #furnish(job: Job): Promise<void> {
    const { client, workers } = this.#options;
    const { name, namespace = 'default', uid } = job.metadata;
    const metadata = { name, namespace, ...(uid && { uid }) };
    const marked = { ...metadata, finalizers: [FINALIZER] };
    await client.apply<KubeObject>(fineTuneJobs, { metadata: marked });
    for (const { kind, object } of childrenOf(job))
      await client.create<KubeObject>(CHILD_RESOURCES[kind], object);
    for (let i = 0; i < workers; i++) await client.create(pods, this.#pod(job, `${name}-${i}`, i));
    const types = ['Succeeded', 'Ready', 'Reconciling', 'Stalled', 'Suspended', 'Scaled'];
    const conditions = types.map((type) => ({
      type,
      status: 'False' as const,
      reason: 'NotEnoughWorkers',
      message: `0 of ${workers} workers have joined`,
      observedGeneration: 1,
      lastTransitionTime: new Date().toISOString().replace(/\.\d+/, ''),
    }));
    const status = { observedGeneration: 1, replicas: workers, selector: 'a=b', conditions };
    await client.applyStatus(fineTuneJobs, { metadata, status } as Job);
    await client.create(events, {
      metadata: { namespace, name: `${name}.1` },
      eventTime: microTime(Date.now()),
      reportingController: 'bare',
      reportingInstance: 'bare',
      type: 'Normal',
      reason: 'PodsCreated',
      action: 'CreatePod',
      note: `made ${workers} workers`,
      regarding: { apiVersion: 'onebyte.dev/v1alpha1', kind: 'FineTuneJob', name, namespace },
    });
  }

  async #remove(job: Job): Promise<void> {
    const { client, workers } = this.#options;
    const { name, namespace = 'default' } = job.metadata;
    for (let i = 0; i < workers; i++)
      await client.delete(pods, { name: `${name}-${i}`, namespace }, { gracePeriodSeconds: 0 });
    for (const { kind, object } of childrenOf(job))
      await client.delete(CHILD_RESOURCES[kind], object.metadata);
    await client.patch(fineTuneJobs, { name, namespace }, { metadata: { finalizers: null } });
    await client.delete(fineTuneJobs, { name, namespace });
  }

  #job(name: string): Job {
    const { workers } = this.#options;
    const managedBy = 'example.com/bare-loop';
    const job = manifest(name, { replicas: workers, max: workers + 8, managedBy }) as Job;
    return { ...job, spec: { ...job.spec, min: 1 } };
  }

  #pod(job: Job, name: string, index: number): Pod {
    const settings = { image: 'onebyte:1', natsUrl: this.#options.natsUrl };
    const pod = workerPod(job, { name, group: '', index, failures: 0 }, settings) as Pod;
    const { ownerReferences: owners = [] } = pod.metadata;
    const owned = owners.filter(({ uid }) => uid);
    // Not of the operator's: it would take them for strays.
    return { ...pod, metadata: { ...pod.metadata, ownerReferences: owned, labels: { bare: 'yes' } } };
  }

  async #inParallel<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<void> {
    await inParallel(items, this.#options.callsAtOnce, async (item) => void (await run(item)));
  }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await run();
  return (performance.now() - begin) / 1_000;
}
