/**
 * Writes what the chart has twice: the CRD, the dashboard, the schema of its values and its README. Run by
 * `node charts/generate.ts`; a test holds the files to it.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { isMap, isScalar, type Pair, parse, parseDocument, type YAMLMap } from 'yaml';
import { dashboard } from './dashboard.ts';

const root = new URL('./onebyte/', import.meta.url);

/** What a value may be, beyond the type of its default. */
const RULES: Readonly<Record<string, object>> = {
  'image.pullPolicy': { enum: ['Always', 'IfNotPresent', 'Never'] },
  'image.digest': { pattern: '^(sha256:[0-9a-f]{64})?$' },
  watchNamespaces: {
    items: { type: 'string', pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' },
    uniqueItems: true,
  },
  'nats.url': { pattern: '^((nats|tls|wss?)://[^ ,]+(,(nats|tls|wss?)://[^ ,]+)*)?$' },
  'nats.operatorUrl': { pattern: '^((nats|tls|wss?)://[^ ,]+(,(nats|tls|wss?)://[^ ,]+)*)?$' },
  'nats.prefix': { pattern: '^[A-Za-z0-9_-]{1,32}$' },
  'nats.logMaxBytes': { minimum: 1048576 },
  'nats.storeMaxBytes': { minimum: 0 },
  'operator.replicas': { minimum: 0, maximum: 16 },
  'operator.concurrency': { minimum: 1, maximum: 256 },
  'operator.callsAtOnce': { minimum: 1, maximum: 256 },
  'operator.pollSeconds': { minimum: 1, maximum: 3600 },
  'operator.logLevel': { enum: ['trace', 'debug', 'info', 'warn', 'error'] },
  'operator.extraEnv': { items: { type: 'object', required: ['name'] } },
  'operator.tolerations': { items: { type: 'object' } },
  'operator.topologySpreadConstraints': { items: { type: 'object' } },
  'image.pullSecrets': { items: { type: 'string' } },
  'networkPolicy.apiServerPorts': { items: { type: 'integer', minimum: 1, maximum: 65535 } },
  'networkPolicy.natsPorts': { items: { type: 'integer', minimum: 1, maximum: 65535 } },
  'networkPolicy.metricsFrom': { items: { type: 'object' } },
  'networkPolicy.workers.namespaces': { items: { type: 'string' } },
  'networkPolicy.workers.extraEgress': { items: { type: 'object' } },
};
/** Maps whose keys are the user's own. */
const OPEN = new Set([
  // Another chart's values: it has its own say.
  'nats-server',
  'operator.resources',
  'operator.podAnnotations',
  'operator.podLabels',
  'operator.nodeSelector',
  'operator.affinity',
  'serviceAccount.annotations',
  'monitoring.serviceMonitor.labels',
  'monitoring.podMonitor.labels',
  'monitoring.prometheusRule.labels',
  'monitoring.dashboard.annotations',
]);

function schemaOf(value: unknown, path: string): object {
  if (Array.isArray(value)) return { type: 'array', ...RULES[path] };
  if (typeof value === 'object' && value !== null) {
    if (OPEN.has(path)) return { type: 'object' };
    const properties = Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [
        key,
        schemaOf(inner, path === '' ? key : `${path}.${key}`),
      ]),
    );
    return { type: 'object', additionalProperties: false, properties };
  }
  const type = typeof value === 'number' ? 'integer' : typeof value;
  return { type, ...RULES[path] };
}

function valuesSchema(values: string): object {
  const schema = schemaOf(parse(values), '') as { properties: object };
  // Helm adds these to the values of a subchart.
  Object.assign(schema.properties, { global: { type: 'object' } });
  return { $schema: 'http://json-schema.org/draft-07/schema#', ...schema };
}

interface Row {
  readonly path: string;
  readonly value: string;
  readonly about: string;
}

/** Every value with its default and the text above it. */
function rowsOf(map: YAMLMap, prefix = ''): Row[] {
  return map.items.flatMap((item, i): Row[] => {
    const { key, value } = item as Pair;
    if (!isScalar(key)) return [];
    const path = `${prefix}${key.value}`;
    // The comment above a map's first key is the map's own in this parser.
    const comment = key.commentBefore ?? (i === 0 ? map.commentBefore : '') ?? '';
    const about = / -- ([\s\S]*)/.exec(comment)?.[1]?.replace(/\s*\n\s*/g, ' ') ?? '';
    const isOpen = OPEN.has(path) || !isMap(value) || value.items.length === 0;
    if (!isOpen) {
      const inner = rowsOf(value as YAMLMap, `${path}.`);
      return about === '' ? inner : [{ path, value: '', about }, ...inner];
    }
    const plain = isScalar(value) ? value.value : (value as YAMLMap).toJSON();
    if (path === 'nats-server') return [{ path, value: '', about }];
    return [{ path, value: JSON.stringify(plain), about }];
  });
}

function readme(values: string, version: string): string {
  const rows = rowsOf(parseDocument(values).contents as YAMLMap)
    .map(
      ({ path, value, about }) =>
        `| \`${path}\` | ${value === '' ? '' : `\`${value}\``} | ${about.replaceAll('|', '\\|')} |`,
    )
    .join('\n');
  return `<!-- Made by charts/generate.ts from values.yaml. Do not edit. -->
# Onebyte on Kubernetes

Chart ${version} for Kubernetes 1.30 or newer. It installs the operator, the API \`FineTuneJob\`, and what it takes to watch
them. NATS with JetStream 2.11 or newer comes with it (\`nats.enabled\`, the official chart of nats-io), or is somewhere already
(\`nats.url\`).

    helm install onebyte charts/onebyte --namespace onebyte --create-namespace --set nats.enabled=true
    helm --namespace onebyte test onebyte
    kubectl get ftj --all-namespaces --watch

A first job, with its data, its model and its result: [docs/install.md](../../docs/install.md#first-job).

**Upgrade**: \`helm upgrade\`. Workers are left alone: a job keeps the pods it has, and its image, until its template changes.
The CRD is upgraded with the release. **Rollback**: \`helm rollback\`; fields that the older CRD does not know are dropped when a job is
written next. **Uninstall**: \`helm uninstall\` leaves the CRD and all jobs (\`crds.keep\`); delete the jobs first, while the operator
can still remove their logs, or set the annotation \`onebyte.dev/keep-stream=true\` on those whose logs are to stay.

| value | default | what it says |
| --- | --- | --- |
${rows}
`;
}

/** The generated files, by name in the chart's folder. */
export async function generate(): Promise<Record<string, string>> {
  const read = (name: string, base = root) => readFile(new URL(name, base), 'utf8');
  const values = await read('values.yaml');
  const { version } = parse(await read('Chart.yaml')) as { version: string };
  const json = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  return {
    'files/finetunejob.yaml': await read('../../crds/finetunejob.yaml'),
    'files/dashboard.json': json(dashboard()),
    'values.schema.json': json(valuesSchema(values)),
    'README.md': readme(values, version),
  };
}

if (import.meta.main)
  for (const [name, text] of Object.entries(await generate())) await writeFile(new URL(name, root), text);
