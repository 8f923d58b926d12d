import {
  type Client,
  type Clock,
  type Follower,
  type KubeObject,
  keyOf,
  type Resource,
  type Scope,
} from '../kube/mod.ts';
import { CHILD_RESOURCES, type ChildKind } from './children.ts';
import { ANNOTATIONS, OWN_SELECTOR } from './names.ts';

interface Known {
  readonly hash: string;
  readonly owner: string;
}

export interface ChildIndexOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly scope: Scope;
  /** Told after every complete look. */
  readonly refreshed: () => void;
  readonly failed?: (error: unknown) => void;
  /** Time between two looks. Default 10 minutes. */
  readonly everyMs?: number;
}

const RETRY = 5_000;

/**
 * Which config maps, service accounts, services and disruption budgets of ours there are, and what each was made from.
 * Four more watches would cost four connections and all that they carry; what is lost here is only seen at the next
 * look, which harms no pod that runs.
 */
export class ChildIndex implements Follower {
  readonly #options: ChildIndexOptions;
  readonly #known = new Map<string, Known>();
  readonly #synced = Promise.withResolvers<void>();

  constructor(options: ChildIndexOptions) {
    this.#options = options;
  }

  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, everyMs = 600_000, refreshed, failed } = this.#options;
    while (!signal.aborted) {
      let pause = everyMs;
      try {
        await this.#look(signal);
        this.#synced.resolve();
        refreshed();
      } catch (error) {
        if (signal.aborted) return;
        failed?.(error);
        pause = RETRY;
      }
      await clock.sleep(pause, signal);
    }
  }

  /** Whether there is such an object, of this owner and made from the same. */
  isCurrent(kind: ChildKind, key: string, hash: string, owner: string): boolean {
    const known = this.#known.get(`${kind} ${key}`);
    return known?.hash === hash && known.owner === owner;
  }

  /** UID of the job that an object belongs to; undefined where we know of none. */
  ownerOf(kind: ChildKind, key: string): string | undefined {
    return this.#known.get(`${kind} ${key}`)?.owner;
  }

  set(kind: ChildKind, object: KubeObject): void {
    this.#known.set(`${kind} ${keyOf(object)}`, knownOf(object));
  }

  delete(kind: ChildKind, key: string): void {
    this.#known.delete(`${kind} ${key}`);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { client, scope } = this.#options;
    const found = new Map<string, Known>();
    for (const [kind, resource] of Object.entries(CHILD_RESOURCES) as [ChildKind, Resource<KubeObject>][]) {
      for (const namespace of scope.namespaces ?? [undefined]) {
        const options = { namespace, labelSelector: OWN_SELECTOR, signal };
        for (const object of await client.listAll(resource, options))
          found.set(`${kind} ${keyOf(object)}`, knownOf(object));
      }
    }
    this.#known.clear();
    for (const [key, known] of found) this.#known.set(key, known);
  }
}

function knownOf({ metadata }: KubeObject): Known {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true)?.uid ?? '';
  return { hash: metadata.annotations?.[ANNOTATIONS.hash] ?? '', owner };
}
