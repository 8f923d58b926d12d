import { isDeepStrictEqual } from 'node:util';
import type { Status } from '../../crds/job.ts';
import {
  type Client,
  type Clock,
  Conflict,
  keyOf,
  NotFound,
  type Outcome,
  type Pass,
  type Pod,
  type Recorder,
  type Store,
} from '../kube/mod.ts';
import type { ChildIndex } from './child-index.ts';
import { CHILD_RESOURCES, type ChildKind } from './children.ts';
import type { Executor } from './execute.ts';
import { fineTuneJobs, isOurs, type Job } from './job.ts';
import { logJobOf } from './log-port.ts';
import { JobMemory } from './memory.ts';
import { COMPONENTS, LABELS } from './names.ts';
import { occurrencesOf } from './occurrences.ts';
import { type Plan, plan } from './plan.ts';
import { childName } from './pod.ts';
import type { LogPoller } from './poller.ts';
import { workerOf } from './worker.ts';
import type { World } from './world.ts';

export interface ReconcilerOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly jobs: Store<Job>;
  /** Indexed by `owner`, the UID of the job that controls them. */
  readonly pods: Store<Pod>;
  readonly children: ChildIndex;
  readonly poller: LogPoller;
  readonly executor: Executor;
  readonly recorder: Recorder;
  /** Puts a job's key on the queue. */
  readonly enqueue: (key: string) => void;
}

/** Plans of one pass. More are needed only while the world changes under it. */
const PLANS = 8;
/** A status whose numbers alone changed is written at most so often. */
const STATUS_SPACING = 2_000;

/** Looks at one job at a time, plans, acts, and tells in the job's status what came of it. */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #memories = new Map<string, JobMemory>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    const { jobs, pods, enqueue } = options;
    const changed = (job: Job) => enqueue(keyOf(job));
    jobs.subscribe({
      add: changed,
      update: (_, job) => changed(job),
      delete: (job) => this.#forget(job),
    });
    pods.subscribe({
      add: (pod) => this.#heard(pod),
      update: (_, pod) => this.#heard(pod),
      delete: (pod) => this.#heard(pod, true),
    });
  }

  readonly reconcile = async (key: string, { signal }: Pass): Promise<Outcome> => {
    let job = this.#options.jobs.get(key);
    if (job === undefined || !isOurs(job)) return undefined;
    const memory = this.#memoryOf(job);
    const { executor, recorder } = this.#options;
    for (let left = PLANS; ; left--) {
      const world = this.#observe(job, memory);
      const made = plan(world);
      const isUnfinished = made.actions.length > 0;
      if (isUnfinished && left > 0) {
        const done = await executor.execute(made.actions, job, memory, signal);
        for (const event of done.events) recorder.record(fineTuneJobs, job, event);
        if (done.isGone) return undefined;
        job = done.job;
        continue;
      }
      const wait = await this.#tell(job, memory, world.status, made.status, signal);
      // The end of a job asks for more at once, now that it has been told.
      const isEnd = world.status.completionTime === undefined && made.status?.completionTime !== undefined;
      if (!isEnd || wait !== null || left === 0) return this.#again(job, made, wait, isUnfinished);
    }
  };

  /** Follows the job's log if need be, and says when to look again. */
  #again(job: Job, made: Plan, wait: number | null, isUnfinished: boolean): Outcome {
    const { poller } = this.#options;
    if (made.followsLog && this.#hasStream(job)) poller.follow(logJobOf(job));
    else poller.forget(job.metadata.uid!);
    const waits = [made.again, wait, isUnfinished ? 1 : null].filter((ms) => ms !== null);
    return waits.length === 0 ? undefined : { requeueAfterMs: Math.min(...waits) };
  }

  #hasStream(job: Job): boolean {
    return job.status?.stream !== undefined || this.#memoryOf(job).stream === 'made';
  }

  #observe(job: Job, memory: JobMemory): World {
    const { clock, pods, children, poller } = this.#options;
    const uid = job.metadata.uid!;
    const now = clock.now();
    const all = memory.overlay(pods.byIndex('owner', uid), now);
    const of = (component: string) =>
      all.filter(({ metadata }) => metadata.labels?.[LABELS.component] === component).map(workerOf);
    const key = keyOf({ metadata: { ...job.metadata, name: childName(job.metadata.name) } });
    const status = memory.statusOf(job.metadata.resourceVersion, job.status);
    const log = poller.view(logJobOf(job));
    // Somebody removed it.
    if (log.answer?.type === 'missing') memory.stream = 'unknown';
    const { streamName } = memory;
    return {
      job,
      status:
        streamName !== undefined && status.stream === undefined ? { ...status, stream: streamName } : status,
      workers: of(COMPONENTS.worker),
      exporter: of(COMPONENTS.export)[0] ?? null,
      log,
      missing: memory
        .children(job)
        .filter(({ kind, hash }) => !children.isCurrent(kind, key, hash, uid))
        .map(({ kind }) => kind),
      setbacks: memory.setbacks,
      stream: memory.stream,
      room: memory.room,
      taken: memory.taken(now),
      now,
    };
  }

  /** Writes the status where it says something new. @returns milliseconds until it may be written; null: it is */
  async #tell(
    job: Job,
    memory: JobMemory,
    before: Status,
    status: Status | null,
    signal: AbortSignal,
  ): Promise<number | null> {
    const stored = memory.statusOf(job.metadata.resourceVersion, job.status);
    if (status === null || isDeepStrictEqual(stored, status)) return null;
    const { client, clock, recorder } = this.#options;
    const now = clock.monotonic();
    const wait = memory.statusAt + STATUS_SPACING - now;
    if (wait > 0 && !isNews(stored, status)) return wait;
    const { name, namespace, uid } = job.metadata;
    const metadata = { name, ...(namespace && { namespace }), ...(uid && { uid }) };
    const object = { metadata, status } as Job;
    try {
      const written = await client.applyStatus(fineTuneJobs, object, { signal });
      memory.wrote(written.metadata.resourceVersion ?? '', written.status ?? {}, now);
    } catch (error) {
      // The job is gone, or another one has its name by now: the store will tell.
      if (error instanceof NotFound || error instanceof Conflict) return null;
      throw error;
    }
    for (const occurrence of occurrencesOf(before, status)) recorder.record(fineTuneJobs, job, occurrence);
    return null;
  }

  #memoryOf(job: Job): JobMemory {
    const uid = job.metadata.uid!;
    let memory = this.#memories.get(uid);
    if (memory === undefined) this.#memories.set(uid, (memory = new JobMemory()));
    return memory;
  }

  #forget(job: Job): void {
    const { poller, children } = this.#options;
    const uid = job.metadata.uid!;
    this.#memories.delete(uid);
    poller.forget(uid);
    const key = keyOf({ metadata: { ...job.metadata, name: childName(job.metadata.name) } });
    for (const kind of Object.keys(CHILD_RESOURCES) as ChildKind[])
      if (children.ownerOf(kind, key) === uid) children.delete(kind, key);
  }

  #heard(pod: Pod, isGone = false): void {
    const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
    if (owner === undefined) return;
    const memory = this.#memories.get(owner.uid);
    if (isGone) memory?.gone(pod);
    else memory?.heard(pod);
    const { namespace } = pod.metadata;
    this.#options.enqueue(keyOf({ metadata: { ...(namespace && { namespace }), name: owner.name } }));
  }
}

/** Whether a status says more than other numbers. */
function isNews(before: Status, after: Status): boolean {
  const essence = ({ observedGeneration, conditions, result, completionTime, stream }: Status) => ({
    ...{ observedGeneration, result, completionTime, stream },
    conditions: conditions?.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
  });
  return !isDeepStrictEqual(essence(before), essence(after));
}
