import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Registry } from 'prom-client';
import { parse, stringify } from 'yaml';
import { ROWS } from '../../../charts/dashboard.ts';
import { generate } from '../../../charts/generate.ts';
import { KubeMetrics, type KubeObject } from '../../../operator/kube/mod.ts';
import { OperatorMetrics } from '../../../operator/metrics/jobs.ts';
import { DEFINITIONS } from '../../../worker/metrics/definitions.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { missing, tool } from '../../tools/tool.ts';
import { until } from '../kube/setup.ts';
import { chart, helm, MATRIX, render, run } from './helm.ts';

const noHelm = await missing('helm');
const noCluster = (await clusterMissing()) || noHelm;
const noPromtool = await missing('promtool');

interface Peer {
  readonly podSelector?: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly namespaceSelector?: object;
}
interface NetworkPolicy {
  readonly spec: { readonly ingress: readonly { readonly from?: readonly Peer[] }[] };
}
type Rule = { apiGroups: string[]; resources: string[]; verbs: string[]; resourceNames?: string[] };

describe('the chart', { skip: noHelm }, () => {
  test('the files that are made of others are up to date: node charts/generate.ts', async () => {
    for (const [name, text] of Object.entries(await generate()))
      assert.equal(await readFile(join(chart, name), 'utf8'), text, name);
  });

  for (const [name, values] of Object.entries(MATRIX)) {
    test(`lints and renders with values for: ${name}`, async () => {
      const linted = await helm(['lint', chart, '--strict'], values);
      assert.equal(linted.code, 0, linted.stdout + linted.stderr);
      const objects = await render(values);
      const keys = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`);
      assert.equal(new Set(keys).size, keys.length, 'no object twice');
      for (const object of objects) {
        const { rules } = object as KubeObject & { rules?: Rule[] };
        for (const { apiGroups, resources, verbs } of rules ?? []) {
          assert.ok(![...apiGroups, ...resources, ...verbs].includes('*'), 'no right is a wildcard');
          if (resources.includes('secrets')) assert.ok(verbs.every((verb) => !/get|list|watch/.test(verb)));
        }
        if (WITH_TEMPLATE.test(object.kind ?? '')) checkPod((object as Deployment).spec.template.spec);
        if (object.kind === 'Pod') checkPod((object as KubeObject & { spec: PodSpec }).spec);
      }
    });
  }

  test('the pod of helm test reaches the operator whoever else may', async () => {
    const objects = await render(MATRIX['monitoring of two namespaces']!);
    const { metadata } = objects.find(({ kind }) => kind === 'Pod')!;
    const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy') as unknown as NetworkPolicy[];
    const froms = policies.map(({ spec }) => spec.ingress[0]!.from!);
    assert.deepEqual(
      froms.map((from) =>
        from.some(({ podSelector }) => isDeepStrictEqual(podSelector?.matchLabels, metadata.labels)),
      ),
      // The workers' metrics are none of its business.
      [true, false, false],
    );
    for (const [peer] of froms) assert.ok(peer?.namespaceSelector);
  });

  const mistakes: [object, RegExp][] = [
    [{}, /nats\.url: where is NATS\?/],
    [{ nats: { ulr: 'nats://nats:4222' } }, /'\/nats'.*'ulr' not allowed/],
    [{ nats: { url: 'nats:4222' } }, /'\/nats\/url'.*does not match pattern/],
    [{ nats: { url: 'nats://n:1', prefix: 'a.b' } }, /'\/nats\/prefix'/],
    [{ nats: { url: 'nats://n:1', logMaxBytes: 10 } }, /'\/nats\/logMaxBytes'.*minimum/],
    [{ natz: {} }, /'natz' not allowed/],
    [{ operator: { replica: 2 } }, /'\/operator'.*'replica' not allowed/],
    [{ operator: { replicas: '2' } }, /'\/operator\/replicas'.*got string, want integer/],
    [{ operator: { logLevel: 'loud' } }, /'\/operator\/logLevel'/],
    [{ image: { pullPolicy: 'Sometimes' } }, /'\/image\/pullPolicy'/],
    [{ image: { digest: 'latest' } }, /'\/image\/digest'/],
    [{ watchNamespaces: 'team-a' }, /'\/watchNamespaces'.*want array/],
    [{ watchNamespaces: ['Team_A'] }, /'\/watchNamespaces\/0'/],
    [{ monitoring: { podmonitor: { enabled: true } } }, /'podmonitor' not allowed/],
    [{ networkPolicy: { natsPorts: [0] } }, /'\/networkPolicy\/natsPorts\/0'/],
    [{ crds: { enabled: 'yes please' } }, /'\/crds\/enabled'.*want boolean/],
  ];
  for (const [values, words] of mistakes) {
    test(`refuses ${JSON.stringify(values)}`, async () => {
      const { code, stderr } = await helm(['template', 'one', chart], values);
      assert.notEqual(code, 0);
      assert.match(stderr, words);
    });
  }

  test('the operator and its workers find the NATS that comes with it, under whatever name it has', async () => {
    const urlOf = async (more: object) => {
      const objects = await render({ nats: { enabled: true }, ...more });
      const { spec } = objects.find(({ kind }) => kind === 'Deployment') as Deployment;
      const { env } = spec.template.spec.containers[0]!;
      const services = objects.filter(({ kind }) => kind === 'Service').map(({ metadata }) => metadata.name);
      const url = new URL(env!.find(({ name }) => name === 'ONEBYTE_NATS_URL')!.value!);
      assert.ok(services.includes(url.hostname.split('.')[0]!), url.href);
      return url.href;
    };
    assert.equal(await urlOf({}), 'nats://one-nats-server.onebyte.svc:4222');
    assert.equal(await urlOf({ 'nats-server': { fullnameOverride: 'bus' } }), 'nats://bus.onebyte.svc:4222');
  });

  test('the NATS that comes with it ends when it is told to: a lame duck keeps its workers waiting', async () => {
    const objects = await render({ nats: { enabled: true } });
    const { spec } = objects.find(({ kind }) => kind === 'StatefulSet') as Deployment;
    assert.equal(spec.template.spec.containers[0]!.lifecycle, undefined);
  });

  test('the policy of a release that looks after some namespaces says nothing of jobs in others', async () => {
    const scopeOf = async (watchNamespaces: string[]) => {
      const objects = await render({ nats: { url: 'nats://n:1' }, watchNamespaces });
      const binding = objects.find(({ kind }) => kind === 'ValidatingAdmissionPolicyBinding');
      return (binding as KubeObject & { spec: { matchResources?: object } }).spec.matchResources;
    };
    assert.equal(await scopeOf([]), undefined);
    const key = 'kubernetes.io/metadata.name';
    assert.deepEqual(await scopeOf(['team-a', 'team-b']), {
      namespaceSelector: { matchExpressions: [{ key, operator: 'In', values: ['team-a', 'team-b'] }] },
    });
  });

  test('a CRD that is to go with the release says so', async () => {
    const crdOf = async (crds: object) =>
      (await render({ nats: { url: 'nats://n:1' }, crds })).find(
        ({ kind }) => kind === 'CustomResourceDefinition',
      );
    assert.equal((await crdOf({ keep: true }))?.metadata.annotations?.['helm.sh/resource-policy'], 'keep');
    assert.equal(
      (await crdOf({ keep: false }))?.metadata.annotations?.['helm.sh/resource-policy'],
      undefined,
    );
  });
});

interface PodSpec {
  readonly volumes?: object[];
  readonly securityContext: Record<string, unknown>;
  readonly containers: {
    readonly securityContext: Record<string, unknown>;
    readonly resources: { limits?: object; requests?: object };
    readonly lifecycle?: object;
    readonly env?: { readonly name: string; readonly value?: string }[];
  }[];
}
const WITH_TEMPLATE = /^(Deployment|StatefulSet)$/;
type Deployment = KubeObject & {
  // The chart of NATS renders an empty list as null, which the server takes.
  spec: { template: { spec: PodSpec }; volumeClaimTemplates?: { metadata: { name: string } }[] | null };
};

/** The pod that a template makes, with the volumes that a StatefulSet adds for its claims. */
function podSpecOf({ spec: { template, volumeClaimTemplates } }: Deployment): object {
  const claims = (volumeClaimTemplates ?? []).map(({ metadata: { name } }) => ({
    name,
    persistentVolumeClaim: { claimName: `${name}-0` },
  }));
  return { ...template.spec, volumes: [...(template.spec.volumes ?? []), ...claims] };
}

function checkPod({ securityContext, containers }: PodSpec): void {
  assert.equal(securityContext.runAsNonRoot, true);
  for (const container of containers) {
    assert.equal(container.securityContext.readOnlyRootFilesystem, true);
    assert.ok(container.resources.limits && container.resources.requests);
  }
}

describe('every object of the chart, on a real API server', { skip: noCluster }, () => {
  let cluster: Cluster;

  before(async () => {
    cluster = await startCluster();
    for (const name of ['onebyte', 'team-a', 'team-b']) {
      await cluster.kubectl(['create', 'namespace', name]);
      await cluster.kubectl(['label', 'namespace', name, 'pod-security.kubernetes.io/enforce=restricted']);
    }
    // The Prometheus operator's own definitions are not to be had here: these take any spec.
    for (const kind of ['ServiceMonitor', 'PodMonitor', 'PrometheusRule'])
      await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(anything(kind)));
    await until('they are served', () =>
      cluster.kubectl(['get', 'servicemonitors,podmonitors,prometheusrules', '-A']).then(
        () => true,
        () => false,
      ),
    );
  });
  after(async () => {
    await cluster?.down();
  });

  for (const [name, values] of Object.entries(MATRIX)) {
    test(`is taken by a dry run, with values for: ${name}`, async () => {
      const objects = await render(values);
      // Pods are not made by a dry run of what makes them: their templates have to pass as well.
      const pods = objects
        .filter(({ kind }) => WITH_TEMPLATE.test(kind ?? ''))
        .map((object) => ({
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: `probe-${object.kind!.toLowerCase()}`, namespace: 'onebyte' },
          spec: podSpecOf(object as Deployment),
        }));
      const flags = ['--server-side', '--dry-run=server', '--validate=strict', '-f', '-'];
      const taken = await cluster.kubectl(
        ['apply', ...flags],
        [...objects, ...pods].map((object) => stringify(object)).join('\n---\n'),
      );
      assert.equal(taken.trimEnd().split('\n').length, objects.length + pods.length);
    });
  }
});

function anything(kind: string): object {
  const plural = `${kind.toLowerCase()}s`;
  const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.monitoring.coreos.com`,
      annotations: { 'api-approved.kubernetes.io': 'test' },
    },
    spec: {
      group: 'monitoring.coreos.com',
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  };
}

/** Names of all series that the operator and workers have. */
async function knownSeries(): Promise<Set<string>> {
  const registry = new Registry();
  new KubeMetrics(registry);
  new OperatorMetrics(registry, () => [], 'test');
  const own = (await registry.getMetricsAsJSON()).map(({ name, type }) => ({ name, type: String(type) }));
  const workers = Object.entries(DEFINITIONS).map(([name, { type }]) => ({ name, type: String(type) }));
  const names = [...own, ...workers, { name: 'process_resident_memory_bytes', type: 'gauge' }];
  return new Set(
    names.flatMap(({ name, type }) =>
      type === 'histogram' ? ['bucket', 'sum', 'count'].map((part) => `${name}_${part}`) : [name],
    ),
  );
}

/** Series that a query names: words before a brace, a bracket or the end that are no functions or labels. */
function seriesIn(query: string): string[] {
  const bare = query
    .replace(/\{[^}]*\}/g, ' ')
    .replace(/\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
    .replace(/"[^"]*"/g, ' ');
  return [...bare.matchAll(/\b([a-z_][a-z0-9_]*)\b(?!\s*\()/g)]
    .map(([, word]) => word!)
    .filter((word) => word.includes('_') && !word.startsWith('__'));
}

describe('dashboard and alerts', { skip: noPromtool }, () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onebyte-rules-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const rulesFile = join(chart, 'files', 'rules.yaml');
  const promtool = async (args: string[]) => run(await tool('promtool'), args);

  test('every query names series that operator or workers have', async () => {
    const known = await knownSeries();
    const panels = ROWS.flatMap((row) => row.panels);
    const queries = panels.flatMap((panel) => panel.queries.map(([expr]) => expr));
    const rules = parse(await readFile(rulesFile, 'utf8')) as { groups: { rules: { expr: string }[] }[] };
    const alerts = rules.groups.flatMap((group) => group.rules.map(({ expr }) => expr));
    assert.ok(queries.length > 30 && alerts.length > 10);
    for (const query of [...queries, ...alerts]) {
      const series = seriesIn(query);
      assert.ok(series.length > 0, query);
      for (const name of series) assert.ok(known.has(name), `${name} in ${query}`);
    }
  });

  test('every query of the dashboard is one for Prometheus', async () => {
    const rules = ROWS.flatMap((row) => row.panels).flatMap((panel, p) =>
      panel.queries.map(([expr], q) => ({
        record: `panel_${p}_${q}`,
        expr: expr.replaceAll('$__rate_interval', '5m'),
      })),
    );
    const file = join(folder, 'dashboard.yaml');
    await writeFile(file, stringify({ groups: [{ name: 'dashboard', rules }] }));
    const { code, stdout, stderr } = await promtool(['check', 'rules', file]);
    assert.equal(code, 0, stdout + stderr);
  });

  test('the alerts pass promtool, and each has a test in which it fires and one in which it does not', async () => {
    const checked = await promtool(['check', 'rules', rulesFile]);
    assert.equal(checked.code, 0, checked.stdout + checked.stderr);
    const text = await readFile(join(import.meta.dirname, 'rules.test.yaml'), 'utf8');
    const file = join(folder, 'rules.test.yaml');
    await writeFile(file, text.replace('RULES', rulesFile));
    const tested = await promtool(['test', 'rules', file]);
    assert.equal(tested.code, 0, tested.stdout + tested.stderr);

    const rules = parse(await readFile(rulesFile, 'utf8')) as { groups: { rules: { alert: string }[] }[] };
    const cases = (
      parse(text) as { tests: { alert_rule_test: { alertname: string; exp_alerts: object[] }[] }[] }
    ).tests.flatMap((one) => one.alert_rule_test);
    for (const { alert } of rules.groups.flatMap((group) => group.rules)) {
      const own = cases.filter(({ alertname }) => alertname === alert);
      assert.ok(
        own.some((one) => one.exp_alerts.length > 0),
        `${alert} fires`,
      );
      assert.ok(
        own.some((one) => one.exp_alerts.length === 0),
        `${alert} is silent`,
      );
    }
  });
});
