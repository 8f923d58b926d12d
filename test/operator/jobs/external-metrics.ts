/** An adapter of external metrics: what prometheus-adapter and KEDA are to an API server, with numbers that a test sets. */
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Cluster } from '../../cluster/cluster.ts';
import { makeLeaf } from '../../cluster/pki.ts';

const GROUP = 'external.metrics.k8s.io';
const VERSION = 'v1beta1';

export class ExternalMetrics {
  /** Values by the name of the metric; one that is missing is not found. */
  readonly values = new Map<string, number>();
  /** Label selectors that were asked with. */
  readonly selectors = new Set<string>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', ({ url = '/' }, response) => {
      const { pathname, searchParams } = new URL(url, 'https://localhost');
      const answer = this.#answer(pathname, searchParams.get('labelSelector') ?? '');
      response.writeHead(answer === null ? 404 : 200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify(answer ?? { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404 }),
      );
    });
  }

  /** Serves, and tells the cluster's API server to pass the group's calls on. */
  static async start(cluster: Cluster): Promise<ExternalMetrics> {
    const leaf = { ca: 'ca', subject: '/CN=metrics', usage: 'serverAuth', names: ['DNS:localhost'] } as const;
    await makeLeaf(cluster.pki, { ...leaf, name: 'metrics' });
    const [cert, key] = await Promise.all(
      ['metrics.crt', 'metrics.key'].map((name) => readFile(join(cluster.pki, name))),
    );
    const server = createServer({ cert: cert!, key: key! });
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    const { port } = server.address() as AddressInfo;
    const objects = [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'metrics', namespace: 'default' },
        spec: { type: 'ExternalName', externalName: 'localhost', ports: [{ port }] },
      },
      {
        apiVersion: 'apiregistration.k8s.io/v1',
        kind: 'APIService',
        metadata: { name: `${VERSION}.${GROUP}` },
        spec: {
          group: GROUP,
          version: VERSION,
          groupPriorityMinimum: 100,
          versionPriority: 100,
          insecureSkipTLSVerify: true,
          service: { name: 'metrics', namespace: 'default', port },
        },
      },
      // Whoever scales has to be allowed to read them, as an adapter's own installation sees to.
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'external-metrics' },
        rules: [{ apiGroups: [GROUP], resources: ['*'], verbs: ['get', 'list'] }],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'external-metrics' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'external-metrics' },
        subjects: [{ kind: 'ServiceAccount', name: 'horizontal-pod-autoscaler', namespace: 'kube-system' }],
      },
    ];
    await cluster.kubectl(
      ['apply', '-f', '-'],
      objects.map((object) => JSON.stringify(object)).join('\n---\n'),
    );
    return new ExternalMetrics(server);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(path: string, selector: string): object | null {
    const apiVersion = `${GROUP}/${VERSION}`;
    if (path === `/apis/${apiVersion}`)
      return {
        kind: 'APIResourceList',
        apiVersion: 'v1',
        groupVersion: apiVersion,
        resources: [...this.values.keys()].map((name) => ({
          name,
          singularName: '',
          namespaced: true,
          kind: 'ExternalMetricValueList',
          verbs: ['get'],
        })),
      };
    const metricName = path.split('/').at(-1)!;
    const value = this.values.get(metricName);
    if (value === undefined) return null;
    this.selectors.add(selector);
    const item = { metricName, metricLabels: {}, timestamp: new Date().toISOString(), value: `${value}` };
    return { kind: 'ExternalMetricValueList', apiVersion, metadata: {}, items: [item] };
  }
}
