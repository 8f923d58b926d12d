import {
  AlreadyExists,
  type Client,
  type Clock,
  Conflict,
  NotFound,
  type Pod,
  pods,
  secrets,
} from '../kube/mod.ts';
import { hasLabels, ignore, isOwned } from './calls.ts';
import type { Job } from './job.ts';
import { type LogPort, logJobOf } from './log-port.ts';
import type { JobMemory } from './memory.ts';
import { exportPod, labelsOf, ownerOf, type PodSettings, secretName, workerPod } from './pod.ts';
import type { NewWorker } from './scale.ts';
import { trimPod, type Worker } from './worker.ts';

export interface PodCallsOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly port: LogPort;
  readonly settings: PodSettings;
}

/** Makes and removes one job's pods, each with the Secret of its credentials. Every call may be repeated or cut short. */
export class PodCalls {
  readonly #options: PodCallsOptions;
  readonly #job: Job;
  readonly #memory: JobMemory;
  readonly #signal: AbortSignal;

  constructor(options: PodCallsOptions, job: Job, memory: JobMemory, signal: AbortSignal) {
    this.#options = options;
    this.#job = job;
    this.#memory = memory;
    this.#signal = signal;
  }

  /** @returns whether a pod was made; false where there is one already */
  async createWorker(worker: NewWorker): Promise<boolean> {
    const secret = await this.#credentials(worker.name);
    return this.#create(workerPod(this.#job, { ...worker, secret }, this.#options.settings));
  }

  /** @returns as `createWorker` */
  async createExport(name: string): Promise<boolean> {
    const secret = await this.#credentials(name);
    return this.#create(exportPod(this.#job, this.#options.settings, secret));
  }

  async #create(pod: Pod): Promise<boolean> {
    const { client, clock } = this.#options;
    try {
      this.#memory.made(trimPod(await client.create(pods, pod, { signal: this.#signal })), clock.now());
      return true;
    } catch (error) {
      if (!(error instanceof AlreadyExists)) throw error;
    }
    // Made by an earlier pass whose answer was lost, or somebody else's.
    const other = await client.get(pods, pod.metadata, { signal: this.#signal }).catch(ignore(NotFound));
    if (other === undefined) return false;
    const isOurs = isOwned(other, this.#job.metadata.uid) && hasLabels(other, pod);
    if (isOurs) this.#memory.made(trimPod(other), clock.now());
    else this.#memory.take(pod.metadata.name, clock.now());
    return false;
  }

  /** Puts a worker's credentials into a Secret of its own; gives the Secret's name, undefined where it needs none. */
  async #credentials(worker: string): Promise<string | undefined> {
    const { client, port } = this.#options;
    const files = await port.credentials(logJobOf(this.#job), worker);
    if (files === null) return undefined;
    const name = secretName(this.#job, worker);
    const { namespace } = this.#job.metadata;
    const metadata = {
      name,
      ...(namespace && { namespace }),
      labels: labelsOf(this.#job),
      ownerReferences: [ownerOf(this.#job)],
    };
    const secret = { metadata, type: 'Opaque', stringData: { ...files } };
    await client.apply(secrets, secret, { signal: this.#signal });
    return name;
  }

  async remove({ name, uid }: Pick<Worker, 'name' | 'uid'>): Promise<void> {
    const { client, clock, port } = this.#options;
    const { namespace } = this.#job.metadata;
    const at = { ...(namespace && { namespace }), name };
    await client.delete(pods, at, { uid, signal: this.#signal }).catch(ignore(NotFound, Conflict));
    this.#memory.removed(uid, clock.now());
    if ((await port.credentials(logJobOf(this.#job), name)) === null) return;
    const secret = { ...at, name: secretName(this.#job, name) };
    await client.delete(secrets, secret, { signal: this.#signal }).catch(ignore(NotFound));
  }
}
