/** Pod templates put over each other, by the rules of Kubernetes' strategic merge as far as pods need them. */

type Value = unknown;
type Fields = { readonly [name: string]: Value };

/** Lists of a pod whose items have a key, and that key; other lists are replaced as a whole. */
const KEYS: Readonly<Record<string, string>> = {
  containers: 'name',
  initContainers: 'name',
  volumes: 'name',
  env: 'name',
  imagePullSecrets: 'name',
  volumeMounts: 'mountPath',
  ports: 'containerPort',
  hostAliases: 'ip',
  topologySpreadConstraints: 'topologyKey',
};
/** Lists that grow: `over` comes first where Kubernetes goes by the first item that fits, last where by the last. */
const GROWING: Readonly<Record<string, 'first' | 'last'>> = { tolerations: 'first', envFrom: 'last' };

/** `over` put over `base`; neither is changed. What is null in `over` is taken away. */
export function merge<T extends object>(base: T, over: object): T {
  return mergeFields(base as Fields, over as Fields) as T;
}

function mergeFields(base: Fields, over: Fields): Fields {
  const out: Record<string, Value> = { ...base };
  for (const [name, value] of Object.entries(over)) {
    if (value === undefined) continue;
    if (value === null) delete out[name];
    else out[name] = mergeValue(name, base[name], value);
  }
  return out;
}

function mergeValue(name: string, base: Value, over: Value): Value {
  if (Array.isArray(base) && Array.isArray(over)) return mergeLists(name, base, over);
  if (isFields(base) && isFields(over)) return name === 'emptyDir' ? over : mergeFields(base, over);
  return over;
}

function mergeLists(name: string, base: readonly Value[], over: readonly Value[]): readonly Value[] {
  const place = GROWING[name];
  if (place !== undefined) return place === 'first' ? [...over, ...base] : [...base, ...over];
  const key = KEYS[name];
  if (key === undefined || ![...base, ...over].every(isFields)) return over;
  const out = [...(base as Fields[])];
  for (const item of over as Fields[]) {
    const at = out.findIndex((other) => other[key] === item[key]);
    if (at < 0) out.push(item);
    // A volume has one source: another one takes its place.
    else out[at] = name === 'volumes' ? item : mergeFields(out[at]!, item);
  }
  return out;
}

function isFields(value: Value): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
