/** NATS in the cluster: the pinned nats-server in an image of ours, for no registry is at hand. */
import { cached, imageOf } from '../cluster/image.ts';
import { tool } from '../tools/tool.ts';

export const NATS_IMAGE = 'onebyte.test/nats:2.15.1';
const USER = 65532;

export async function natsArchive(): Promise<string> {
  const program = await tool('nats-server');
  return cached('onebyte.test-nats-2.15.1.tar', (path) =>
    imageOf(
      path,
      NATS_IMAGE,
      { 'nats-server': program },
      { Entrypoint: ['/nats-server'], User: `${USER}:${USER}` },
    ),
  );
}

/** What the official chart makes, as far as one server goes. @param config more of the server's configuration */
export function natsObjects(namespace: string, config: object): object[] {
  const labels = { 'app.kubernetes.io/name': 'nats' };
  const server = {
    port: 4222,
    http_port: 8222,
    server_name: 'nats-0',
    jetstream: { store_dir: '/data' },
    lame_duck_duration: '30s',
    lame_duck_grace_period: '2s',
    ...config,
  };
  return [
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'nats-config', namespace },
      stringData: { 'nats.conf': JSON.stringify(server) },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'nats', namespace, labels },
      spec: { selector: labels, ports: [{ name: 'nats', port: 4222 }] },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'nats', namespace, labels },
      spec: {
        serviceName: 'nats',
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: USER,
              runAsGroup: USER,
              fsGroup: USER,
              seccompProfile: { type: 'RuntimeDefault' },
            },
            tolerations: [{ operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 5 }],
            containers: [
              {
                name: 'nats',
                image: NATS_IMAGE,
                imagePullPolicy: 'Never',
                args: ['-c', '/etc/nats/nats.conf'],
                ports: [{ name: 'nats', containerPort: 4222 }],
                readinessProbe: { httpGet: { path: '/healthz', port: 8222 }, periodSeconds: 1 },
                securityContext: {
                  allowPrivilegeEscalation: false,
                  readOnlyRootFilesystem: true,
                  capabilities: { drop: ['ALL'] },
                },
                volumeMounts: [
                  { name: 'config', mountPath: '/etc/nats', readOnly: true },
                  { name: 'data', mountPath: '/data' },
                ],
              },
            ],
            volumes: [
              { name: 'config', secret: { secretName: 'nats-config' } },
              { name: 'data', persistentVolumeClaim: { claimName: 'nats' } },
            ],
          },
        },
      },
    },
  ];
}
