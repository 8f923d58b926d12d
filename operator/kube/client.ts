import { Caller, type CallOptions, type ClientOptions, type WriteGuard } from './caller.ts';
import { Aborted, networkError } from './errors.ts';
import { apiVersionOf, type KubeObject, type ObjectName, pathOf, type Resource } from './object.ts';
import { BrokenWatch, eventsOf, type WatchEvent } from './watch.ts';

export type { CallOptions, ClientOptions, WriteGuard } from './caller.ts';
export { WriteRefused } from './caller.ts';

export interface ListOptions extends CallOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Most objects of one page. */
  readonly limit?: number;
  readonly continueToken?: string | undefined;
}

export interface Page<T> {
  readonly items: T[];
  readonly resourceVersion: string;
  /** Where the next page starts; undefined on the last. */
  readonly continueToken: string | undefined;
  /** How many there are after this page, as far as the server says (it does not where a selector is given). */
  readonly remaining: number;
}

export interface WatchOptions extends Omit<ListOptions, 'limit' | 'continueToken' | 'attempts'> {
  readonly resourceVersion: string;
  /** After this long the server ends the watch in good order. */
  readonly timeoutSeconds: number;
}

export interface ApplyOptions extends CallOptions {
  readonly fieldManager?: string;
  /** Takes over fields that other managers own. Default true: a controller's word is final on its own objects. */
  readonly force?: boolean;
}

export interface PatchOptions extends CallOptions {
  readonly subresource?: 'status' | 'scale';
}

export interface DeleteOptions extends CallOptions {
  /** Refused with Conflict when the object of that name is another one by now. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly gracePeriodSeconds?: number;
  /** Default Background. */
  readonly propagation?: 'Foreground' | 'Background' | 'Orphan';
}

interface WireList<T> {
  readonly items: T[] | null;
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
}

/**
 * The verbs of the API, JSON in and out. Errors are those of `errors.ts`. Calls that are safe to send twice are sent
 * again after a lost answer; a create, or an update of a known version, only if it certainly did nothing.
 */
export class Client {
  readonly fieldManager: string;
  readonly #caller: Caller;
  readonly #guard: WriteGuard;

  constructor(options: ClientOptions, caller = new Caller(options), guard: WriteGuard = () => undefined) {
    this.fieldManager = options.fieldManager;
    this.#caller = caller;
    this.#guard = guard;
    this.guarded = (other) => new Client(options, caller, other);
  }

  /** The same client and connections, but every change asks `guard` first: for what only a leader may do. */
  readonly guarded: (guard: WriteGuard) => Client;

  /** Connections open now, idle ones included. */
  get connections(): number {
    return this.#caller.connections;
  }

  close(): void {
    this.#caller.close();
  }

  async get<T extends KubeObject>(
    resource: Resource<T>,
    at: ObjectName,
    options: CallOptions = {},
  ): Promise<T> {
    return this.read<T>(pathOf(resource, at.namespace, at.name), options);
  }

  /** One page of a collection, read consistently. */
  async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<Page<T>> {
    const { namespace, labelSelector, fieldSelector, limit, continueToken } = options;
    const query = queryOf({ labelSelector, fieldSelector, limit, continue: continueToken });
    const list = await this.read<WireList<T>>(pathOf(resource, namespace) + query, options);
    return {
      items: list.items ?? [],
      resourceVersion: list.metadata.resourceVersion,
      continueToken: list.metadata.continue || undefined,
      remaining: list.metadata.remainingItemCount ?? 0,
    };
  }

  /** Every object of a collection, page by page. */
  async listAll<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<T[]> {
    const all: T[] = [];
    let continueToken: string | undefined;
    do {
      const page = await this.list(resource, { limit: 500, ...options, continueToken });
      all.push(...page.items);
      continueToken = page.continueToken;
    } while (continueToken !== undefined);
    return all;
  }

  /** Throws AlreadyExists when the name is taken, be it by an earlier call whose answer was lost. */
  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: CallOptions = {},
  ): Promise<T> {
    const path = pathOf(resource, object.metadata.namespace) + queryOf({ fieldManager: this.fieldManager });
    return this.#change<T>('POST', path, typed(resource, object), options);
  }

  /** Replaces an object; with `metadata.resourceVersion` only if it has not changed since (else Conflict). */
  async update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: CallOptions = {},
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    const path = pathOf(resource, namespace, name) + queryOf({ fieldManager: this.fieldManager });
    return this.#change<T>('PUT', path, typed(resource, object), options);
  }

  /** Server-side apply: what `object` says is owned by the field manager; what it no longer says is removed. */
  async apply<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: ApplyOptions = {},
  ): Promise<T> {
    return this.#apply(resource, object, undefined, options);
  }

  /** Server-side apply of the status subresource. */
  async applyStatus<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: ApplyOptions = {},
  ): Promise<T> {
    return this.#apply(resource, object, 'status', options);
  }

  /** JSON merge patch (RFC 7386) of an object or of a subresource. */
  async patch<T extends KubeObject>(
    resource: Resource<T>,
    at: ObjectName,
    change: object,
    options: PatchOptions = {},
  ): Promise<T> {
    const query = queryOf({ fieldManager: this.fieldManager });
    const path = pathOf(resource, at.namespace, at.name, options.subresource) + query;
    return this.#change<T>('PATCH', path, change, options, 'application/merge-patch+json');
  }

  async patchStatus<T extends KubeObject>(
    resource: Resource<T>,
    at: ObjectName,
    status: object,
    options: CallOptions = {},
  ): Promise<T> {
    return this.patch(resource, at, { status }, { ...options, subresource: 'status' });
  }

  /** Throws NotFound when there is none (any more), Conflict when a precondition does not hold. */
  async delete(resource: Resource<KubeObject>, at: ObjectName, options: DeleteOptions = {}): Promise<void> {
    const { uid, resourceVersion, gracePeriodSeconds, propagation = 'Background' } = options;
    const isBound = uid !== undefined || resourceVersion !== undefined;
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds,
      propagationPolicy: propagation,
      ...(isBound ? { preconditions: { uid, resourceVersion } } : {}),
    };
    await this.#change('DELETE', pathOf(resource, at.namespace, at.name), body, options);
  }

  /** Asks for a pod's eviction. Throws TooManyRequests while a PodDisruptionBudget forbids it. */
  async evict(at: Required<ObjectName>, options: CallOptions = {}): Promise<void> {
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { ...at } };
    const path = `/api/v1/namespaces/${at.namespace}/pods/${at.name}/eviction`;
    await this.#change('POST', path, body, { attempts: 1, ...options });
  }

  /** Reads any path, e.g. `/version`. */
  async read<T>(path: string, options: CallOptions = {}): Promise<T> {
    return (await this.#caller.call(
      { ...options, method: 'GET', path, isRepeatable: true },
      this.#guard,
    )) as T;
  }

  /**
   * Events since `resourceVersion`, with bookmarks, until the server ends the watch. One attempt: whoever watches decides
   * what a loss means. A refusal is thrown as ApiError; an ERROR event is passed on.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>> {
    const { namespace, resourceVersion, timeoutSeconds, labelSelector, fieldSelector } = options;
    const query = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds };
    const path = pathOf(resource, namespace);
    const answer = await this.#caller.open(
      path + queryOf({ ...query, labelSelector, fieldSelector }),
      `WATCH ${path}`,
      options,
    );
    try {
      yield* eventsOf<T>(answer);
    } catch (error) {
      if (options.signal?.aborted) throw new Aborted(`WATCH ${path}: aborted`, { cause: error });
      throw error instanceof BrokenWatch ? error : networkError(`WATCH ${path}`, error);
    } finally {
      answer.destroy();
    }
  }

  async #apply<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    subresource: 'status' | undefined,
    options: ApplyOptions,
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    const { fieldManager = this.fieldManager, force = true } = options;
    const path =
      pathOf(resource, namespace, name, subresource) + queryOf({ fieldManager, force: String(force) });
    return this.#change<T>('PATCH', path, typed(resource, object), options, 'application/apply-patch+yaml');
  }

  async #change<T>(
    method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body: object,
    options: CallOptions,
    type = 'application/json',
  ): Promise<T> {
    const isRepeatable = method === 'PATCH' || method === 'DELETE';
    return (await this.#caller.call(
      { ...options, method, path, body, type, isRepeatable },
      this.#guard,
    )) as T;
  }
}

function typed<T extends KubeObject>(resource: Resource<T>, object: T): T {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

function queryOf(values: Record<string, string | number | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}
