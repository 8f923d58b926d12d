import type { Status } from '../../crds/job.ts';
import { isOlder, type Pod } from '../kube/mod.ts';
import { type Child, childrenOf } from './children.ts';
import type { Job } from './job.ts';
import { noRoom, type Setback, type Setbacks, type World } from './world.ts';

/** How long our own word on a pod counts against a store that has not heard of it. */
const PATIENCE = 30_000;

/** How long a name stays taken without asking again. */
const TAKEN = 300_000;

type ChildHash = Pick<Child, 'kind' | 'hash'>;

interface Expected {
  readonly pod: Pod;
  readonly at: number;
}

/**
 * What this process knows of one job beside what the API server tells: what it did that the stores do not show yet, what
 * was refused, and what it wrote. All of it may be lost at any moment; names and preconditions keep that harmless.
 */
export class JobMemory {
  readonly #made = new Map<string, Expected>();
  readonly #removed = new Map<string, number>();
  readonly #setbacks: { -readonly [K in keyof Setbacks]: Setbacks[K] } = {
    stream: null,
    room: null,
    children: null,
    pods: null,
  };
  readonly #taken = new Map<string, number>();
  #children: { readonly generation: number; readonly hashes: readonly ChildHash[] } | null = null;
  stream: World['stream'] = 'unknown';
  streamName: string | undefined;
  /** What the stream has, as far as this process has seen to it. */
  room = noRoom;
  /** When the status was written last, on the monotonic clock. */
  statusAt = Number.NEGATIVE_INFINITY;
  #status: { readonly version: string; readonly status: Status } | null = null;

  get setbacks(): Setbacks {
    return this.#setbacks;
  }

  refused(what: keyof Setbacks, reason: string, message: string, now: number, generation: number): Setback {
    const before = this.#setbacks[what];
    const isSame = before?.generation === generation;
    const attempts = isSame ? before.attempts + 1 : 1;
    return (this.#setbacks[what] = { reason, message, attempts, at: now, generation });
  }

  accepted(what: keyof Setbacks): void {
    this.#setbacks[what] = null;
  }

  /** Names of pods that somebody else has, as far as we were told lately. */
  taken(now: number): Set<string> {
    for (const [name, at] of this.#taken) if (now - at > TAKEN) this.#taken.delete(name);
    return new Set(this.#taken.keys());
  }

  take(name: string, now: number): void {
    this.#taken.set(name, now);
  }

  /** Digests of the job's children as they should be, worked out once for each generation. */
  children(job: Job): readonly ChildHash[] {
    const generation = job.metadata.generation ?? 0;
    if (this.#children?.generation !== generation)
      this.#children = { generation, hashes: childrenOf(job).map(({ kind, hash }) => ({ kind, hash })) };
    return this.#children.hashes;
  }

  made(pod: Pod, now: number): void {
    this.#made.set(pod.metadata.name, { pod, at: now });
  }

  removed(uid: string, now: number): void {
    this.#removed.set(uid, now);
  }

  /** The store has news of a pod: what we expected of it has come, or something else has. */
  heard(pod: Pod): void {
    const expected = this.#made.get(pod.metadata.name);
    if (expected !== undefined && !isEarlier(pod, expected.pod)) this.#made.delete(pod.metadata.name);
    if (pod.metadata.deletionTimestamp !== undefined) this.#removed.delete(pod.metadata.uid!);
  }

  gone(pod: Pod): void {
    this.#removed.delete(pod.metadata.uid!);
    if (this.#made.get(pod.metadata.name)?.pod.metadata.uid === pod.metadata.uid)
      this.#made.delete(pod.metadata.name);
  }

  /** The pods of a store, with what we did since. */
  overlay(pods: readonly Pod[], now: number): Pod[] {
    if (this.#made.size === 0 && this.#removed.size === 0) return [...pods];
    for (const [name, { at }] of this.#made) if (now - at > PATIENCE) this.#made.delete(name);
    for (const [uid, at] of this.#removed) if (now - at > PATIENCE) this.#removed.delete(uid);
    const deletionTimestamp = new Date(now).toISOString();
    const all = new Map(pods.map((pod) => [pod.metadata.name, pod]));
    for (const [name, { pod }] of this.#made) {
      const known = all.get(name);
      if (known === undefined || isEarlier(known, pod)) all.set(name, pod);
    }
    return [...all.values()].flatMap((pod) => {
      if (!this.#removed.has(pod.metadata.uid!) || pod.metadata.deletionTimestamp !== undefined) return [pod];
      // A pod that no node runs goes at once.
      const isIdle = pod.status?.phase !== 'Running';
      return isIdle ? [] : [{ ...pod, metadata: { ...pod.metadata, deletionTimestamp } }];
    });
  }

  wrote(version: string, status: Status, monotonic: number): void {
    this.#status = { version, status };
    this.statusAt = monotonic;
  }

  /** The newer one of what we wrote and what the store has. */
  statusOf(version: string | undefined, status: Status | undefined): Status {
    if (this.#status !== null && isOlder(version ?? '', this.#status.version)) return this.#status.status;
    return status ?? {};
  }
}

function isEarlier(pod: Pod, than: Pod): boolean {
  return isOlder(pod.metadata.resourceVersion ?? '', than.metadata.resourceVersion ?? '');
}
