import {
  AlreadyExists,
  ApiError,
  type Client,
  type Clock,
  Forbidden,
  Invalid,
  type KubeObject,
  keyOf,
  type Resource,
} from '../kube/mod.ts';
import type { ChildIndex } from './child-index.ts';
import { CHILD_RESOURCES, type ChildKind } from './children.ts';
import { fineTuneJobs, type Job } from './job.ts';

/** An object of that name belongs to somebody else. */
export class NameTaken extends Error {
  override readonly name = 'NameTaken';
  constructor(kind: string, name: string) {
    super(`there is a ${kind} ${name} that is not this job's: delete it, or give the job another name`);
  }
}

/** Makes a child or brings it up to date; never touches an object of that name that is not this job's. */
export async function ensureChild(
  { client, children }: { readonly client: Client; readonly children: ChildIndex },
  job: Job,
  kind: ChildKind,
  object: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const resource = CHILD_RESOURCES[kind] as Resource<KubeObject>;
  const { uid, name } = job.metadata;
  if (children.ownerOf(kind, keyOf(object)) !== uid) {
    try {
      children.set(kind, await client.create(resource, object, { signal }));
      return;
    } catch (error) {
      if (!(error instanceof AlreadyExists)) throw error;
    }
    const other = await client.get(resource, object.metadata, { signal });
    if (!isOwned(other, uid)) {
      const owners = other.metadata.ownerReferences ?? [];
      const isLeftover = owners.some((owner) => owner.kind === fineTuneJobs.kind && owner.name === name);
      // The garbage collector has not come to it yet: try again.
      if (isLeftover || other.metadata.deletionTimestamp !== undefined)
        throw new Error(`${kind} ${object.metadata.name} of an earlier job of this name is still there`);
      throw new NameTaken(kind, object.metadata.name);
    }
  }
  children.set(kind, await client.apply(resource, object, { signal }));
}

export function isOwned({ metadata }: KubeObject, uid: string | undefined): boolean {
  return metadata.ownerReferences?.some((owner) => owner.controller === true && owner.uid === uid) ?? false;
}

/** Of a job of the same name that was deleted: the garbage collector has not come to it yet. */
export function hasLabels(pod: KubeObject, wanted: KubeObject): boolean {
  return Object.entries(wanted.metadata.labels ?? {}).every(
    ([key, value]) => pod.metadata.labels?.[key] === value,
  );
}

/** Whether the API server will say the same again until a person has done something. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Forbidden || error instanceof Invalid || error instanceof NameTaken;
}

export function textOf(error: unknown): string {
  if (error instanceof ApiError) return error.message.replace(/^[A-Z]+ \S+: /, '');
  return error instanceof Error ? error.message : String(error);
}

export function throwOther(errors: readonly unknown[]): void {
  const other = errors.find((error) => !isRefusal(error));
  if (other !== undefined) throw other;
}

export function ignore(...kinds: (new (...args: never[]) => Error)[]): (error: unknown) => undefined {
  return (error) => {
    if (!kinds.some((kind) => error instanceof kind)) throw error;
    return undefined;
  };
}

/** Runs tasks, so many at once; rejects with the first error once all have ended. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const errors: unknown[] = [];
  const work = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift())
      await run(item).catch((error: unknown) => void errors.push(error));
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, work));
  if (errors.length > 0) throw errors[0];
}

export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const cancel = clock.after(ms, () => late.abort(new Error(`no answer within ${ms / 1_000} s`)));
  try {
    const both = AbortSignal.any([signal, late.signal]);
    const ended = new Promise<never>((_, reject) => {
      both.addEventListener('abort', () => reject(both.reason), { once: true });
    });
    return await Promise.race([call(both), ended]);
  } finally {
    cancel();
  }
}
