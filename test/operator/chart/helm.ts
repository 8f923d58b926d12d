import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import type { KubeObject } from '../../../operator/kube/mod.ts';
import { tool } from '../../tools/tool.ts';

export const chart = join(import.meta.dirname, '..', '..', '..', 'charts', 'onebyte');

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function run(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(program, args, { env, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
  });
}

/** Runs helm with values in a file. Its own files stay in a folder of their own. */
export async function helm(args: readonly string[], values?: object, kubeconfig?: string): Promise<Ran> {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-helm-'));
  try {
    const file = join(folder, 'values.yaml');
    if (values !== undefined) await writeFile(file, stringify(values));
    const more = values === undefined ? [] : ['--values', file];
    const homes = { HELM_CACHE_HOME: folder, HELM_CONFIG_HOME: folder, HELM_DATA_HOME: folder };
    const env = { ...process.env, ...homes, KUBECONFIG: kubeconfig ?? '/dev/null' };
    return await run(await tool('helm'), [...args, ...more], env);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Every object that the chart makes of some values. */
export async function render(values: object, namespace = 'onebyte'): Promise<KubeObject[]> {
  const { code, stdout, stderr } = await helm(['template', 'one', chart, '--namespace', namespace], values);
  if (code !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout, { merge: true })
    .map((document): KubeObject | null => document.toJS({ maxAliasCount: -1 }))
    .filter((object) => object !== null)
    .map((object) =>
      CLUSTER_SCOPED.test(object.kind ?? '')
        ? object
        : // Charts below this one leave it to helm to say where they go.
          { ...object, metadata: { ...object.metadata, namespace: object.metadata.namespace ?? namespace } },
    );
}

const CLUSTER_SCOPED = /^(CustomResourceDefinition|ClusterRole|ValidatingAdmissionPolicy)/;

const url = 'nats://nats.nats.svc:4222';
const allMonitoring = {
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  podMonitor: { enabled: true, labels: { release: 'prometheus' } },
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
  dashboard: { enabled: true, annotations: { folder: 'ML' } },
};

/** Values by what they are about. */
export const MATRIX: Readonly<Record<string, object>> = {
  least: { nats: { url } },
  'high availability': {
    nats: { url: `${url},nats://nats-2.nats.svc:4222` },
    operator: {
      replicas: 3,
      affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
      topologySpreadConstraints: [
        { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
      ],
      tolerations: [{ key: 'control', operator: 'Exists' }],
      nodeSelector: { 'kubernetes.io/os': 'linux' },
      priorityClassName: 'system-cluster-critical',
    },
  },
  'NATS beside it': { nats: { enabled: true } },
  'three NATS servers without volumes, and a name of their own': {
    nats: { enabled: true },
    'nats-server': {
      fullnameOverride: 'bus',
      config: {
        cluster: { enabled: true, replicas: 3 },
        jetstream: {
          memoryStore: { enabled: true, maxSize: '256Mi' },
          fileStore: { pvc: { enabled: false } },
        },
      },
      promExporter: { enabled: false },
      podDisruptionBudget: { enabled: true },
    },
  },
  'two namespaces': { nats: { url }, watchNamespaces: ['team-a', 'team-b'] },
  'credentials for each worker': {
    nats: {
      url: 'tls://nats.example.com:4222',
      operatorUrl: 'tls://nats.internal:4222',
      tlsFirst: true,
      domain: 'hub',
      operatorSecret: 'nats-operator',
      workerSecret: 'nats-ca',
      account: { seedSecret: 'nats-account', seedKey: 'seed', publicKey: 'ACCOUNT' },
    },
  },
  'shared credentials': { nats: { url: 'wss://nats.example.com', workerSecret: 'nats-workers' } },
  monitoring: { nats: { url }, monitoring: allMonitoring },
  'monitoring of two namespaces': {
    nats: { url },
    monitoring: allMonitoring,
    watchNamespaces: ['team-a', 'team-b'],
    networkPolicy: {
      metricsFrom: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
      workers: { downloads: false, extraEgress: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' } }] }] },
    },
  },
  'as little as there can be': {
    nats: { url },
    crds: { enabled: false },
    rbac: { create: false },
    serviceAccount: { create: false, name: 'given' },
    networkPolicy: { enabled: false },
    admissionPolicy: { enabled: false },
    podDisruptionBudget: { enabled: false },
  },
  'an image by digest': {
    nats: { url },
    image: {
      repository: 'registry.example.com/ml/onebyte',
      digest: `sha256:${'0'.repeat(64)}`,
      pullPolicy: 'Always',
      pullSecrets: ['registry'],
    },
    operator: { extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy:3128' }], podLabels: { team: 'ml' } },
    fullnameOverride: 'tuner',
    crds: { keep: false },
  },
};
