import type { Client } from './client.ts';
import { backoffMs, type Clock, type Random } from './clock.ts';
import { Aborted, apiError, Gone } from './errors.ts';
import type { KubeObject, Resource } from './object.ts';

/** Where a reflector puts what it hears. */
export interface Sink<T> {
  replace(objects: readonly T[]): void;
  set(object: T): void;
  delete(object: T): void;
}

export interface ReflectorEvents {
  /** A complete list was taken in, of so many objects. */
  listed?(objects: number): void;
  /** A watch was opened. */
  watching?(): void;
  /** A list or watch failed and will be tried again. */
  failed?(error: unknown): void;
}

export interface ReflectorOptions<T extends KubeObject> {
  readonly client: Client;
  readonly resource: Resource<T>;
  readonly sink: Sink<T>;
  readonly clock: Clock;
  readonly random: Random;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Shortens an object to what is read; default drops `managedFields`. */
  readonly trim?: (object: T) => T;
  readonly pageSize?: number;
  /** The server ends a watch after one to two times this long, in good order. Default 5 minutes. */
  readonly watchMs?: number;
  /** A watch without an event or bookmark for so long is given up; bookmarks come every minute. Default 100 s. */
  readonly silenceMs?: number;
  readonly backoff?: { readonly firstMs: number; readonly longestMs: number };
  readonly on?: ReflectorEvents;
}

/** A watch went silent. */
export class SilentWatch extends Error {
  override readonly name = 'SilentWatch';
}

/**
 * Keeps a sink equal to a collection of the API server: a list, then a watch that resumes from the last version it heard,
 * for ever. Lists again when the version is too old (410 as a status or as an event), when versions go backwards (a
 * restored etcd), or when two watches in a row stay silent.
 */
export class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #synced = Promise.withResolvers<void>();
  #version: string | undefined;
  #isSynced = false;
  #isRunning = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
  }

  /** Resolves after the first complete list. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Runs until the signal is aborted. Never throws for what the server does. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#isRunning) throw new Error('reflector: already running');
    this.#isRunning = true;
    const { clock, random, on, backoff = { firstMs: 500, longestMs: 30_000 } } = this.#options;
    let failures = 0;
    let silences = 0;
    while (!signal.aborted) {
      try {
        if (this.#version === undefined) await this.#list(signal, failures);
        const heard = await this.#watch(signal);
        if (heard > 0) failures = silences = 0;
        // Ended in good order. At once again, but not in a tight loop with a server that ends every watch at once.
        else await clock.sleep(backoffMs(failures++, backoff, random), signal);
      } catch (error) {
        if (signal.aborted || error instanceof Aborted) break;
        on?.failed?.(error);
        silences = error instanceof SilentWatch ? silences + 1 : 0;
        if (error instanceof Gone || silences >= 2) this.#version = undefined;
        await clock.sleep(backoffMs(failures++, backoff, random), signal);
      }
    }
    this.#isRunning = false;
  }

  async #list(signal: AbortSignal, failures: number): Promise<void> {
    const { client, resource, namespace, labelSelector, fieldSelector, sink, pageSize = 500 } = this.#options;
    const objects: T[] = [];
    let continueToken: string | undefined;
    let version = '';
    // Pages that expire again and again before the last is read: ask for everything in one answer.
    const limit = failures >= 3 ? {} : { limit: pageSize };
    do {
      const page = await client.list(resource, {
        namespace,
        labelSelector,
        fieldSelector,
        ...limit,
        continueToken,
        signal,
      });
      for (const object of page.items) objects.push(this.#trim(object));
      ({ continueToken, resourceVersion: version } = page);
    } while (continueToken !== undefined);
    sink.replace(objects);
    this.#version = version;
    this.#isSynced = true;
    this.#synced.resolve();
    this.#options.on?.listed?.(objects.length);
  }

  /** One watch, to its end. Gives how many events and bookmarks it heard. */
  async #watch(signal: AbortSignal): Promise<number> {
    const { client, resource, namespace, labelSelector, fieldSelector, clock, random } = this.#options;
    const { watchMs = 300_000, silenceMs = 100_000 } = this.#options;
    const ender = new AbortController();
    const follow = () => ender.abort();
    signal.addEventListener('abort', follow, { once: true });
    let isSilent = false;
    const giveUp = () => {
      isSilent = true;
      ender.abort();
    };
    let stopWatchdog = clock.after(silenceMs, giveUp);
    let heard = 0;
    try {
      this.#options.on?.watching?.();
      const watch = client.watch(resource, {
        namespace,
        labelSelector,
        fieldSelector,
        resourceVersion: this.#version!,
        // Spread, so that the watches of many clients do not all end together.
        timeoutSeconds: Math.ceil((watchMs * (1 + random())) / 1_000),
        signal: ender.signal,
      });
      for await (const event of watch) {
        stopWatchdog();
        stopWatchdog = clock.after(silenceMs, giveUp);
        heard++;
        if (event.type === 'ERROR')
          throw apiError(event.object.code ?? 500, event.object, { call: 'watch event' });
        this.#take(event.type, event.object as T);
      }
      return heard;
    } catch (error) {
      if (isSilent) throw new SilentWatch(`${resource.plural}: nothing heard for ${silenceMs} ms`);
      throw error;
    } finally {
      stopWatchdog();
      signal.removeEventListener('abort', follow);
    }
  }

  #take(type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', object: T): void {
    const version = object.metadata.resourceVersion ?? '';
    if (isOlder(version, this.#version!)) {
      throw new Gone(
        410,
        { message: `version went back from ${this.#version} to ${version}` },
        { call: 'watch event' },
      );
    }
    this.#version = version;
    if (type === 'BOOKMARK') return;
    if (type === 'DELETED') this.#options.sink.delete(this.#trim(object));
    else this.#options.sink.set(this.#trim(object));
  }

  #trim(object: T): T {
    const { trim = dropManagedFields } = this.#options;
    return trim(object);
  }
}

/** Versions of one resource grow; Kubernetes lets clients compare them as whole numbers since 1.35 (KEP-5504). */
export function isOlder(version: string, than: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}

/** Most of an applied object's size is the record of who owns which field, which no reconciler reads. */
export function dropManagedFields<T extends KubeObject>(object: T): T {
  delete object.metadata.managedFields;
  return object;
}
