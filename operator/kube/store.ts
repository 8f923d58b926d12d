import { type KubeObject, keyOf } from './object.ts';

/** What happened to an object. Handlers are called in order and must only take note, e.g. put a key on a queue. */
export interface Handler<T> {
  add?(object: T): void;
  update?(before: T, after: T): void;
  /** `isFinal` is false when the deletion itself was missed: `object` is then the last state we saw (a tombstone). */
  delete?(object: T, isFinal: boolean): void;
}

/** The values under which an index finds an object. */
export type IndexFunction<T> = (object: T) => readonly string[];

export interface StoreOptions<T> {
  readonly indexes?: Readonly<Record<string, IndexFunction<T>>>;
  /** Told of what a handler throws; the store goes on. */
  readonly onHandlerError?: (error: unknown) => void;
}

/** The objects of one kind as last heard from the API server. Objects are shared: treat them as constants. */
export class Store<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #indexes: { name: string; valuesOf: IndexFunction<T>; keys: Map<string, Set<string>> }[];
  readonly #handlers: Handler<T>[] = [];
  readonly #onHandlerError: (error: unknown) => void;

  constructor(options: StoreOptions<T> = {}) {
    this.#indexes = Object.entries(options.indexes ?? {}).map(([name, valuesOf]) => ({
      name,
      valuesOf,
      keys: new Map(),
    }));
    this.#onHandlerError = options.onHandlerError ?? (() => undefined);
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  /** Objects under a value of an index, in the order in which they came under it. */
  byIndex(name: string, value: string): T[] {
    const index = this.#indexes.find((other) => other.name === name);
    if (index === undefined) throw new Error(`no index ${name}`);
    return [...(index.keys.get(value) ?? [])].map((key) => this.#objects.get(key)!);
  }

  /** Adds a handler; it is first told of every object that is already there. */
  subscribe(handler: Handler<T>): void {
    this.#handlers.push(handler);
    for (const object of this.#objects.values()) this.#tell(handler, (h) => h.add?.(object));
  }

  /** Takes in an object that was added or changed. */
  set(object: T): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    // Deleted and made again while we looked away: two objects that share a name.
    if (before !== undefined && before.metadata.uid !== object.metadata.uid) {
      this.#remove(key, before, false);
      this.set(object);
      return;
    }
    if (before !== undefined) this.#unindex(key, before);
    this.#objects.set(key, object);
    for (const index of this.#indexes) {
      for (const value of index.valuesOf(object)) {
        const keys = index.keys.get(value);
        if (keys === undefined) index.keys.set(value, new Set([key]));
        else keys.add(key);
      }
    }
    if (before === undefined) this.#tellAll((handler) => handler.add?.(object));
    else this.#tellAll((handler) => handler.update?.(before, object));
  }

  /** Takes out an object that was deleted; `object` is its last state. */
  delete(object: T): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    if (before === undefined) return;
    // A late word about an earlier object of that name says nothing about this one.
    if (before.metadata.uid !== object.metadata.uid) return;
    this.#remove(key, object, true);
  }

  /**
   * Takes in a complete list. What is not in it was deleted unseen. `isListed` says which objects the list would have
   * held, for a store filled by several lists.
   */
  replace(objects: readonly T[], isListed: (object: T) => boolean = () => true): void {
    const present = new Set(objects.map(keyOf));
    for (const [key, object] of [...this.#objects]) {
      if (isListed(object) && !present.has(key)) this.#remove(key, object, false);
    }
    for (const object of objects) {
      const before = this.#objects.get(keyOf(object));
      const isSame =
        before?.metadata.uid === object.metadata.uid &&
        before?.metadata.resourceVersion === object.metadata.resourceVersion;
      if (!isSame) this.set(object);
    }
  }

  #remove(key: string, last: T, isFinal: boolean): void {
    this.#unindex(key, this.#objects.get(key)!);
    this.#objects.delete(key);
    this.#tellAll((handler) => handler.delete?.(last, isFinal));
  }

  #unindex(key: string, object: T): void {
    for (const index of this.#indexes) {
      for (const value of index.valuesOf(object)) {
        const keys = index.keys.get(value);
        keys?.delete(key);
        if (keys?.size === 0) index.keys.delete(value);
      }
    }
  }

  #tellAll(call: (handler: Handler<T>) => void): void {
    for (const handler of this.#handlers) this.#tell(handler, call);
  }

  #tell(handler: Handler<T>, call: (handler: Handler<T>) => void): void {
    try {
      call(handler);
    } catch (error) {
      this.#onHandlerError(error);
    }
  }
}
