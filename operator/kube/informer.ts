import { type KubeObject, keyOf } from './object.ts';
import { Reflector, type ReflectorOptions } from './reflector.ts';
import type { Scope } from './scope.ts';
import { Store, type StoreOptions } from './store.ts';

export interface InformerOptions<T extends KubeObject>
  extends Omit<ReflectorOptions<T>, 'sink' | 'namespace'>,
    StoreOptions<T> {
  readonly scope: Scope;
}

/** A store that follows a collection: in all namespaces by one watch, or in some by a watch each. */
export class Informer<T extends KubeObject> {
  readonly store: Store<T>;
  readonly #reflectors: Reflector<T>[];

  constructor(options: InformerOptions<T>) {
    const store = new Store<T>(options);
    this.store = store;
    const namespaces = options.scope.namespaces ?? [undefined];
    this.#reflectors = namespaces.map((namespace) => {
      const isListed = (object: T) => namespace === undefined || object.metadata.namespace === namespace;
      const sink = {
        replace: (objects: readonly T[]) => store.replace(objects, isListed),
        set: (object: T) => store.set(object),
        delete: (object: T) => store.delete(object),
      };
      return new Reflector<T>({ ...options, namespace, sink });
    });
  }

  /** Resolves when the store holds everything. */
  get synced(): Promise<void> {
    return Promise.all(this.#reflectors.map((reflector) => reflector.synced)).then(() => undefined);
  }

  get isSynced(): boolean {
    return this.#reflectors.every((reflector) => reflector.isSynced);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.run(signal)));
  }
}

/** Index by the object that controls this one. */
export function controllerUid(object: KubeObject): string[] {
  const owner = object.metadata.ownerReferences?.find((reference) => reference.controller === true);
  return owner === undefined ? [] : [owner.uid];
}

/** Index by `namespace/value` of a label. */
export function labelValue(label: string): (object: KubeObject) => string[] {
  return (object) => {
    const value = object.metadata.labels?.[label];
    if (value === undefined) return [];
    return [keyOf({ metadata: { ...object.metadata, name: value } })];
  };
}
