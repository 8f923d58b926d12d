import type {
  EventsV1Event,
  V1ConfigMap,
  V1Lease,
  V1ObjectMeta,
  V1Pod,
  V1PodDisruptionBudget,
  V1Secret,
  V1Service,
  V1ServiceAccount,
} from '@kubernetes/client-node';

/** A type as it is in JSON: client-node's `Date` fields are strings on the wire. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer E)[]
    ? Wire<E>[]
    : T extends object
      ? { [K in keyof T]: Wire<T[K]> }
      : T;

export type Meta = Wire<V1ObjectMeta> & { name: string };

/** Any object of the API, in JSON form. Objects from a store are shared: never change one. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: Meta;
}

export type Known<T> = Omit<Wire<T>, 'metadata' | 'apiVersion' | 'kind'> & KubeObject;
export type Pod = Known<V1Pod>;
export type ConfigMap = Known<V1ConfigMap>;
export type Secret = Known<V1Secret>;
export type Service = Known<V1Service>;
export type ServiceAccount = Known<V1ServiceAccount>;
export type PodDisruptionBudget = Known<V1PodDisruptionBudget>;
export type Lease = Known<V1Lease>;
export type Event = Known<EventsV1Event>;

/** Where objects of one kind live in the API. `T` is the objects' type and exists for the compiler only. */
export interface Resource<T extends KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  readonly object?: T;
}

export function namespaced<T extends KubeObject>(
  apiVersion: string,
  kind: string,
  plural: string,
): Resource<T> {
  const [version, group = ''] = apiVersion.split('/').reverse() as [string, string?];
  return { group, version, kind, plural, namespaced: true };
}

export const pods = namespaced<Pod>('v1', 'Pod', 'pods');
export const configMaps = namespaced<ConfigMap>('v1', 'ConfigMap', 'configmaps');
export const secrets = namespaced<Secret>('v1', 'Secret', 'secrets');
export const services = namespaced<Service>('v1', 'Service', 'services');
export const serviceAccounts = namespaced<ServiceAccount>('v1', 'ServiceAccount', 'serviceaccounts');
export const podDisruptionBudgets = namespaced<PodDisruptionBudget>(
  'policy/v1',
  'PodDisruptionBudget',
  'poddisruptionbudgets',
);
export const leases = namespaced<Lease>('coordination.k8s.io/v1', 'Lease', 'leases');
export const events = namespaced<Event>('events.k8s.io/v1', 'Event', 'events');

export function apiVersionOf(resource: Resource<KubeObject>): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** Path of a collection (no name) or an object, with an optional subresource such as `status`. */
export function pathOf(
  resource: Resource<KubeObject>,
  namespace?: string,
  name?: string,
  subresource?: string,
): string {
  const root = resource.group === '' ? '/api/v1' : `/apis/${resource.group}/${resource.version}`;
  const parts = [resource.plural, name, subresource]
    .filter((part) => part !== undefined)
    .map(encodeURIComponent);
  const inside =
    resource.namespaced && namespace !== undefined ? `namespaces/${encodeURIComponent(namespace)}/` : '';
  return `${root}/${inside}${parts.join('/')}`;
}

/** Names an object within its kind: `namespace/name`, or `name` for kinds without namespaces. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}

export interface ObjectName {
  readonly namespace?: string;
  readonly name: string;
}

/** The reverse of `keyOf`. */
export function nameOf(key: string): ObjectName {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
