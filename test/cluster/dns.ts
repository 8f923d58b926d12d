/** Cluster DNS: CoreDNS as a Deployment, at the address that kubelets tell pods. */
import type { Cluster } from './cluster.ts';

export const DNS_IMAGE = 'onebyte.test/coredns:1.15.0';

// Names from outside of the cluster do not exist, at once: pods reach nothing there. In a block of its own, for
// CoreDNS asks its plugins in an order that is compiled in.
const corefile = `cluster.local:5353 in-addr.arpa:5353 {
  errors
  ready :8181
  kubernetes cluster.local in-addr.arpa {
    pods insecure
    ttl 1
  }
  cache 1
}
.:5353 {
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`;

const meta = (name: string) => ({ name, namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } });
const labels = { 'k8s-app': 'kube-dns' };

function objects(address: string): object[] {
  const role = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'coredns' };
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta('coredns') },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'coredns' },
      rules: [
        { apiGroups: [''], resources: ['services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'coredns' },
      roleRef: role,
      subjects: [{ kind: 'ServiceAccount', name: 'coredns', namespace: 'kube-system' }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta('coredns'), data: { Corefile: corefile } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: meta('kube-dns'),
      spec: {
        clusterIP: address,
        selector: labels,
        ports: [
          { name: 'dns', port: 53, targetPort: 5353, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, targetPort: 5353, protocol: 'TCP' },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: meta('coredns'),
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: 'coredns',
            // A node that is lost takes no more than a moment of DNS with it.
            tolerations: [{ operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 1 }],
            containers: [
              {
                name: 'coredns',
                image: DNS_IMAGE,
                imagePullPolicy: 'Never',
                args: ['-conf', '/etc/coredns/Corefile'],
                volumeMounts: [{ name: 'config', mountPath: '/etc/coredns' }],
                readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
              },
            ],
            volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
          },
        },
      },
    },
  ];
}

/** Asks for DNS at an address of the services' range; it runs once there is a node. */
export async function applyDns(cluster: Cluster, address: string): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects(address) };
  // The API server checks it; kubectl's own check fetches all schemas first, too much for a machine that is starting.
  await cluster.kubectl(['apply', '--validate=false', '-f', '-'], JSON.stringify(list));
}
