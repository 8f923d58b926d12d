import {
  type Client,
  type Clock,
  Conflict,
  Forbidden,
  type KubeObject,
  NotFound,
  type Occurrence,
} from '../kube/mod.ts';
import { ensureChild, ignore, inParallel, isRefusal, textOf, throwOther, within } from './calls.ts';
import type { ChildIndex } from './child-index.ts';
import { type ChildKind, childrenOf } from './children.ts';
import { fineTuneJobs, type Job, roomOf } from './job.ts';
import { type LogPort, logJobOf } from './log-port.ts';
import type { JobMemory } from './memory.ts';
import { ANNOTATIONS, EVENTS, FINALIZER, REASONS } from './names.ts';
import type { Action } from './plan.ts';
import { exportName, type PodSettings } from './pod.ts';
import { PodCalls } from './pod-calls.ts';
import type { LogPoller } from './poller.ts';
import type { NewWorker } from './scale.ts';
import type { Setbacks } from './world.ts';

export interface ExecutorOptions {
  /** Guarded: only a leader changes anything. */
  readonly client: Client;
  readonly clock: Clock;
  readonly port: LogPort;
  readonly poller: LogPoller;
  readonly children: ChildIndex;
  readonly settings: PodSettings;
  readonly on?: {
    created?(count: number): void;
    removed?(why: string): void;
    refused?(reason: string): void;
  };
}

/** What became of a plan's actions. */
export interface Done {
  /** The job, as the last call that changed it gave it back. */
  readonly job: Job;
  /** Whether the job itself is on its way out: no more plans. */
  readonly isGone: boolean;
  readonly events: readonly Occurrence[];
}

/** Pods that one job creates at once. */
const PARALLEL = 8;
/** A server that keeps logs gets so long to make or remove one. */
const STREAM_MS = 15_000;

/** Carries plans out. The only place that changes anything in the cluster; every call may be repeated or cut short. */
export class Executor {
  readonly #options: ExecutorOptions;

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  /**
   * Carries out a plan's actions. Refusals that a person must see are noted in the memory; what may be a passing fault of
   * the API server is thrown, after all that could be done was.
   */
  async execute(actions: readonly Action[], job: Job, memory: JobMemory, signal: AbortSignal): Promise<Done> {
    const pass = new Pass(this.#options, job, memory, signal);
    // Removals make room in quotas for creations, and children come before the pods that mount them.
    const of = <T extends Action['type']>(...types: T[]) =>
      actions.filter((action): action is Extract<Action, { type: T }> => types.includes(action.type as T));
    for (const { type } of of('add-finalizer', 'create-stream', 'widen-stream', 'remove-stream'))
      await pass.single(type);
    const isFurnished = await pass.children(of('ensure-child').map(({ kind }) => kind));
    await pass.remove(of('remove-pod'));
    // The next plan says whether pods can do without what was refused.
    if (!isFurnished) return pass.done();
    await pass.create([
      ...of('replace-pod').map(({ worker, failures }) => ({ ...worker, failures, uid: worker.uid })),
      ...of('create-pod').map(({ worker }) => worker),
    ]);
    if (of('create-export').length > 0) await pass.export();
    for (const { type } of of('remove-finalizer', 'delete-job')) await pass.single(type);
    return pass.done();
  }
}

class Pass {
  readonly #options: ExecutorOptions;
  readonly #memory: JobMemory;
  readonly #signal: AbortSignal;
  readonly #events: Occurrence[] = [];
  readonly #pods: PodCalls;
  #job: Job;
  #isGone = false;

  constructor(options: ExecutorOptions, job: Job, memory: JobMemory, signal: AbortSignal) {
    this.#options = options;
    this.#job = job;
    this.#memory = memory;
    this.#signal = signal;
    this.#pods = new PodCalls(options, job, memory, signal);
  }

  done(): Done {
    return { job: this.#job, isGone: this.#isGone, events: this.#events };
  }

  async single(
    type:
      | 'add-finalizer'
      | 'remove-finalizer'
      | 'create-stream'
      | 'widen-stream'
      | 'remove-stream'
      | 'delete-job',
  ) {
    switch (type) {
      case 'add-finalizer':
        return this.#addFinalizer();
      case 'remove-finalizer':
        // A job that has changed meanwhile is told of, and looked at, again.
        await this.#removeFinalizer().catch(ignore(NotFound, Conflict));
        this.#isGone = true;
        return;
      case 'create-stream':
        return this.#createStream();
      case 'widen-stream':
        await this.#stream('room');
        return;
      case 'remove-stream':
        return this.#removeStream();
      case 'delete-job': {
        const { client } = this.#options;
        const { metadata } = this.#job;
        const options = { uid: metadata.uid!, signal: this.#signal };
        await client.delete(fineTuneJobs, metadata, options).catch(ignore(NotFound, Conflict));
        this.#isGone = true;
        this.#note('Normal', EVENTS.expired, 'Delete', 'its time to live after the end is over');
      }
    }
  }

  /** @returns whether all of them are there now */
  async children(kinds: readonly ChildKind[]): Promise<boolean> {
    if (kinds.length === 0) return true;
    const wanted = childrenOf(this.#job).filter(({ kind }) => kinds.includes(kind));
    const results = await Promise.allSettled(
      wanted.map(({ kind, object }) => ensureChild(this.#options, this.#job, kind, object, this.#signal)),
    );
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    if (errors.length === 0) this.#memory.accepted('children');
    const [refusal] = errors.filter(isRefusal);
    if (refusal !== undefined) this.#refused('children', REASONS.childRefused, textOf(refusal));
    throwOther(errors);
    return errors.length === 0;
  }

  async remove(actions: readonly Extract<Action, { type: 'remove-pod' }>[]): Promise<void> {
    await inParallel(actions, PARALLEL, async ({ worker, why }) => {
      await this.#pods.remove(worker);
      this.#options.on?.removed?.(why);
      if (why === 'surplus' || why === 'outdated')
        this.#note(
          'Normal',
          why === 'surplus' ? EVENTS.podRemoved : EVENTS.podOutdated,
          'DeletePod',
          `${worker.name} leaves`,
        );
    });
  }

  async create(workers: readonly (NewWorker & { readonly uid?: string })[]): Promise<void> {
    if (workers.length === 0) return;
    const created: string[] = [];
    const errors: unknown[] = [];
    await inParallel(workers, PARALLEL, async (worker) => {
      // After one refusal the rest would be refused too.
      if (errors.length > 0) return;
      try {
        if (worker.uid !== undefined) {
          await this.#pods.remove({ ...worker, uid: worker.uid });
          this.#note('Normal', EVENTS.podReplaced, 'ReplacePod', `${worker.name} is made again`);
        }
        if (await this.#pods.createWorker(worker)) created.push(worker.name);
      } catch (error) {
        errors.push(error);
      }
    });
    if (created.length > 0) {
      const names = created.length > 4 ? `${created.slice(0, 3).join(', ')}, ...` : created.join(', ');
      this.#note('Normal', EVENTS.podsCreated, 'CreatePod', `made ${created.length} workers: ${names}`);
      this.#options.on?.created?.(created.length);
    }
    if (errors.length === 0) return this.#memory.accepted('pods');
    const [refusal] = errors.filter(isRefusal);
    if (refusal !== undefined) {
      const isQuota = refusal instanceof Forbidden && /exceeded quota/.test(refusal.message);
      const message = textOf(refusal);
      this.#refused('pods', isQuota ? 'QuotaExceeded' : 'PodRefused', message);
      this.#note('Warning', EVENTS.podsRefused, 'CreatePod', message);
    }
    throwOther(errors);
  }

  async export(): Promise<void> {
    const name = exportName(this.#job.metadata.name);
    try {
      if (!(await this.#pods.createExport(name))) return;
      this.#memory.accepted('pods');
      this.#note(
        'Normal',
        EVENTS.exportStarted,
        'CreatePod',
        `${name} writes the model to ${this.#job.spec.output?.uri}`,
      );
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#refused('pods', 'PodRefused', textOf(error));
    }
  }

  async #addFinalizer(): Promise<void> {
    const { client } = this.#options;
    const { name, namespace, uid } = this.#job.metadata;
    // The UID keeps an apply from making a new job where this one has gone meanwhile.
    const metadata = { name, ...(namespace && { namespace }), ...(uid && { uid }), finalizers: [FINALIZER] };
    const applied = await client.apply<KubeObject>(fineTuneJobs, { metadata }, { signal: this.#signal });
    this.#job = { ...this.#job, metadata: applied.metadata };
  }

  /** By a patch: an apply would leave it where others have put it too, as in a copy of the job that was applied. */
  async #removeFinalizer(): Promise<void> {
    const { metadata } = this.#job;
    const finalizers = metadata.finalizers?.filter((one) => one !== FINALIZER);
    const change = { metadata: { resourceVersion: metadata.resourceVersion, finalizers } };
    await this.#options.client.patch(fineTuneJobs, metadata, change, { signal: this.#signal });
  }

  async #createStream(): Promise<void> {
    const name = await this.#stream('stream');
    if (name === null) return;
    // What was known of the log before says nothing of this one.
    this.#options.poller.forget(this.#job.metadata.uid!);
    this.#memory.stream = 'made';
    this.#memory.streamName = name;
    this.#note('Normal', EVENTS.streamCreated, 'CreateStream', `the log is the stream ${name}`);
  }

  /** Makes the job's stream, or gives it more room and other copies. @returns its name, or null where the server refused */
  async #stream(what: 'stream' | 'room'): Promise<string | null> {
    const { port, clock } = this.#options;
    try {
      const name = await within(clock, STREAM_MS, this.#signal, (both) =>
        port.create(logJobOf(this.#job), both),
      );
      this.#memory.room = roomOf(this.#job);
      for (const done of ['stream', 'room'] as const) this.#memory.accepted(done);
      return name;
    } catch (error) {
      if (this.#signal.aborted) throw error;
      this.#refused(what, REASONS.logUnavailable, textOf(error));
      this.#note('Warning', EVENTS.streamFailed, 'CreateStream', textOf(error));
      return null;
    }
  }

  async #removeStream(): Promise<void> {
    const { port, clock } = this.#options;
    try {
      await within(clock, STREAM_MS, this.#signal, (both) => port.remove(logJobOf(this.#job), both));
      this.#memory.stream = 'gone';
      this.#note('Normal', EVENTS.streamRemoved, 'DeleteStream', 'the log is gone');
    } catch (error) {
      if (this.#signal.aborted) throw error;
      this.#refused('stream', REASONS.logUnavailable, textOf(error));
      const way = `the annotation ${ANNOTATIONS.keepStream}=true lets the job go without it`;
      this.#note('Warning', EVENTS.streamRemovalFailed, 'DeleteStream', `${textOf(error)}; ${way}`);
    }
  }

  #refused(what: keyof Setbacks, reason: string, message: string): void {
    const { clock, on } = this.#options;
    this.#memory.refused(what, reason, message, clock.now(), this.#job.metadata.generation ?? 0);
    on?.refused?.(reason);
  }

  #note(type: Occurrence['type'], reason: string, action: string, note: string): void {
    this.#events.push({ type, reason, action, note });
  }
}
