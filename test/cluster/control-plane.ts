/** The command lines of a control plane's programs, as plain functions of what they depend on. */

export interface ControlPlaneOptions {
  /** Folder of the cluster: `pki/`, `etcd/`, configuration files. */
  readonly folder: string;
  /** Address that the API server listens on and that certificates name. */
  readonly host: string;
  readonly ports: Readonly<Record<PortName, number>>;
  /** Addresses of services. */
  readonly services: string;
  readonly controllerManager: boolean;
  readonly audit: boolean;
  readonly apiServerFlags: readonly string[];
}

export const PORTS = ['etcd', 'etcdPeer', 'apiServer', 'controllerManager', 'scheduler'] as const;
export type PortName = (typeof PORTS)[number];

/** Services and the API server's own, where there are no nodes. */
export const NO_NODES = { services: '10.96.0.0/16', apiService: '10.96.0.1' } as const;

export const serverNames = (host: string, apiService: string): string[] => [
  ...new Set(['127.0.0.1', apiService, host].map((address) => `IP:${address}`)),
  ...['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'].map((name) => `DNS:${name}`),
  'DNS:kubernetes.default.svc.cluster.local',
];

export function etcdFlags({ folder, ports }: ControlPlaneOptions): string[] {
  const client = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    `--data-dir=${folder}/etcd`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // The data is thrown away with the cluster, so waiting for the disk buys nothing.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

export function apiServerFlags(options: ControlPlaneOptions): string[] {
  const { folder, host, ports, controllerManager, audit } = options;
  const pki = `${folder}/pki`;
  return [
    `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
    `--bind-address=${host}`,
    `--secure-port=${ports.apiServer}`,
    `--advertise-address=${host}`,
    ...(host === '127.0.0.1' ? ['--endpoint-reconciler-type=none'] : []),
    `--service-cluster-ip-range=${options.services}`,
    '--allow-privileged=true',
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    // Without a controller manager nobody makes the namespaces' service accounts, and pods would be refused.
    ...(controllerManager ? [] : ['--disable-admission-plugins=ServiceAccount']),
    `--authentication-config=${folder}/authentication.json`,
    `--client-ca-file=${pki}/ca.crt`,
    `--tls-cert-file=${pki}/apiserver.crt`,
    `--tls-private-key-file=${pki}/apiserver.key`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${pki}/service-account.pub`,
    `--service-account-signing-key-file=${pki}/service-account.key`,
    `--kubelet-client-certificate=${pki}/apiserver-kubelet-client.crt`,
    `--kubelet-client-key=${pki}/apiserver-kubelet-client.key`,
    `--kubelet-certificate-authority=${pki}/ca.crt`,
    '--kubelet-preferred-address-types=InternalIP',
    `--requestheader-client-ca-file=${pki}/front-proxy-ca.crt`,
    '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User',
    '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    `--proxy-client-cert-file=${pki}/front-proxy-client.crt`,
    `--proxy-client-key-file=${pki}/front-proxy-client.key`,
    '--profiling=false',
    `--cert-dir=${folder}/apiserver`,
    ...(audit
      ? [`--audit-policy-file=${folder}/audit-policy.json`, `--audit-log-path=${folder}/audit.log`]
      : []),
    ...options.apiServerFlags,
  ];
}

export function controllerManagerFlags({ folder, ports, services }: ControlPlaneOptions): string[] {
  const pki = `${folder}/pki`;
  return [
    ...clientFlags(`${pki}/controller-manager.kubeconfig`),
    `--secure-port=${ports.controllerManager}`,
    `--cert-dir=${folder}/controller-manager`,
    `--service-account-private-key-file=${pki}/service-account.key`,
    `--root-ca-file=${pki}/ca.crt`,
    `--cluster-signing-cert-file=${pki}/ca.crt`,
    `--cluster-signing-key-file=${pki}/ca.key`,
    '--use-service-account-credentials',
    `--service-cluster-ip-range=${services}`,
    // The default of 20 calls a second makes the first service account take 6 s.
    '--kube-api-qps=300',
    '--kube-api-burst=600',
    // Autoscalers look every 15 s by default.
    '--horizontal-pod-autoscaler-sync-period=1s',
    '--node-monitor-period=1s',
    '--node-monitor-grace-period=12s',
  ];
}

export function schedulerFlags({ folder, ports }: ControlPlaneOptions): string[] {
  return [
    ...clientFlags(`${folder}/pki/scheduler.kubeconfig`),
    `--secure-port=${ports.scheduler}`,
    `--cert-dir=${folder}/scheduler`,
  ];
}

function clientFlags(kubeconfig: string): string[] {
  return [
    `--kubeconfig=${kubeconfig}`,
    `--authentication-kubeconfig=${kubeconfig}`,
    `--authorization-kubeconfig=${kubeconfig}`,
    '--leader-elect=false',
    '--bind-address=127.0.0.1',
    '--profiling=false',
  ];
}

/** Health paths answer without credentials, everything else wants some. */
export const authentication = {
  apiVersion: 'apiserver.config.k8s.io/v1',
  kind: 'AuthenticationConfiguration',
  anonymous: { enabled: true, conditions: [{ path: '/livez' }, { path: '/readyz' }, { path: '/healthz' }] },
};

/** Every write, with who, what and the answer, but without bodies. */
export const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'None', verbs: ['get', 'list', 'watch'] }, { level: 'Metadata' }],
};
