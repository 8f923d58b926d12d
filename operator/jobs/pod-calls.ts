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
import { hasLabels, ignore, isOwned, NameTaken } from './calls.ts';
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
    const pod = workerPod(this.#job, { ...worker, secret }, this.#options.settings);
    // The next plan passes a name over that is taken.
    return (await this.#create(pod)) === 'made';
  }

  /** @returns as `createWorker`. @throws NameTaken */
  async createExport(name: string): Promise<boolean> {
    const secret = await this.#credentials(name);
    const found = await this.#create(exportPod(this.#job, this.#options.settings, secret));
    if (found === 'taken') throw new NameTaken('pod', name);
    return found === 'made';
  }

  async #create(pod: Pod): Promise<'made' | 'there' | 'gone' | 'taken'> {
    const { client, clock } = this.#options;
    try {
      this.#memory.made(trimPod(await client.create(pods, pod, { signal: this.#signal })), clock.now());
      return 'made';
    } catch (error) {
      if (!(error instanceof AlreadyExists)) throw error;
    }
    // Made by an earlier pass whose answer was lost, or somebody else's.
    const other = await client.get(pods, pod.metadata, { signal: this.#signal }).catch(ignore(NotFound));
    if (other === undefined) return 'gone';
    const seen = trimPod(other);
    const isLeaving = other.metadata.deletionTimestamp !== undefined;
    // One of ours that leaves is in nobody's way for long: it only has to be counted as what it is.
    const isKnown = hasLabels(other, pod) || (isLeaving && hasLabels(seen, trimPod(pod)));
    if (isOwned(other, this.#job.metadata.uid) && isKnown) {
      this.#memory.made(seen, clock.now());
      return 'there';
    }
    this.#memory.take(pod.metadata.name, clock.now());
    return 'taken';
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
