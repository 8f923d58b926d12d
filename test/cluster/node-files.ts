/** What a node's programs are configured with, as plain functions of where the node is. */
import type { Network, NodeAddress } from './network.ts';

export interface NodePlace extends NodeAddress {
  readonly name: string;
  readonly index: number;
  /** Folder of the node; `disk` below it is what a node keeps over a restart. */
  readonly folder: string;
  /** Folder of the cluster's certificates. */
  readonly pki: string;
  readonly bin: string;
  readonly network: Network;
  /** Of all nodes that there may be: where pods of other nodes are. */
  readonly peers: readonly NodeAddress[];
}

export const PAUSE_IMAGE = 'onebyte.test/pause:1';
export const CONTAINERD = 'containerd';

export function containerdToml({ folder }: NodePlace): string {
  return `version = 2
root = "${folder}/disk/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # Where raising priorities is not allowed, as in many virtual machines.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "${folder}/runc"
`;
}

/** The library that Debian's package libfaketime has, and where containers find it. */
export const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

/**
 * Stands for runc. While the node has a file `clock`, containers that start there see a clock that is off by what it
 * says: the kernel has one wall clock for all, so a library that is loaded before all others shifts what it says.
 * Time that only goes forward, which programs wait by, stays.
 */
export function runcScript({ folder }: NodePlace): string {
  return `#!/bin/sh
last=
for word in "$@"; do [ "$last" = --bundle ] && bundle=$word; last=$word; done
if [ -n "$bundle" ] && [ -e ${folder}/clock ]; then
  env='"LD_PRELOAD=/faketime.so","FAKETIME='$(cat ${folder}/clock)'","FAKETIME_DONT_FAKE_MONOTONIC=1","DONT_FAKE_MONOTONIC=1",'
  mount='{"destination":"/faketime.so","type":"bind","source":"${FAKETIME}","options":["bind","ro"]},'
  sed -i 's|"env":\\[|&'"$env"'|; s|"mounts":\\[|&'"$mount"'|' "$bundle/config.json"
fi
exec runc "$@"
`;
}

export function cniConfig({ pods }: NodePlace): object {
  return {
    cniVersion: '1.0.0',
    name: 'onebyte',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          dataDir: '/run/cni',
          ranges: [[{ subnet: pods }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

export function kubeletConfig({ folder, pki, address, network }: NodePlace): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: '/',
    failSwapOn: false,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    address,
    healthzBindAddress: '127.0.0.1',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${pki}/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    tlsCertFile: `${folder}/pki/kubelet-server.crt`,
    tlsPrivateKeyFile: `${folder}/pki/kubelet-server.key`,
    rotateCertificates: false,
    resolvConf: `${folder}/resolv.conf`,
    clusterDNS: [network.dns],
    clusterDomain: 'cluster.local',
    podLogsDir: '/var/log/pods',
    syncFrequency: '5s',
    configMapAndSecretChangeDetectionStrategy: 'Watch',
    // With the controller manager's grace of 12 s, a lost node is seen in about as many.
    nodeStatusUpdateFrequency: '4s',
    nodeLeaseDurationSeconds: 8,
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: {
      'memory.available': '100Mi',
      'nodefs.available': '3%',
      'imagefs.available': '1%',
      'nodefs.inodesFree': '1%',
    },
    evictionPressureTransitionPeriod: '10s',
    oomScoreAdj: 0,
    maxOpenFiles: 20_000,
    volumePluginDir: '/var/lib/kubelet/volumeplugins',
    // A container that ends again and again, as tests make it, is not waited for any longer than it needs.
    crashLoopBackOff: { maxContainerRestartPeriod: '2s' },
  };
}

export function proxyConfig({ folder, name, address, network }: NodePlace): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clientConnection: { kubeconfig: `${folder}/pki/proxy.kubeconfig` },
    hostnameOverride: name,
    clusterCIDR: network.pods,
    bindAddress: '0.0.0.0',
    healthzBindAddress: '127.0.0.1:10256',
    metricsBindAddress: '127.0.0.1:10249',
    oomScoreAdj: 0,
    // Limits of the whole machine, which are not ours to set.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
    nodePortAddresses: [`${address}/32`],
  };
}

/** Values that the kubelet wants to find; the machine's own stay as they are. */
const SYSCTLS = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

export const CONTROLLERS = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids'];

/** Enters the node's control groups, then namespaces of its own; the end of the first process ends them all. */
export const enterScript = `for group in $(cat "$0/cgroups"); do echo $$ > "$group/cgroup.procs" || exit 1; done
exec unshare --cgroup --mount --propagation private --pid --net --ipc --uts --fork --kill-child --mount-proc bash "$0/init.sh"`;

/** The first process of a node. */
export function initScript(place: NodePlace): string {
  const { folder, name, address, bin, peers, network } = place;
  const containerd = `${CONTAINERD} --config ${folder}/containerd.toml --log-level warn`;
  const store = `${folder}/disk/containerd`;
  const sysctls = Object.entries(SYSCTLS).map(
    ([key, value], i) =>
      `echo ${value} > ${folder}/sysctl-${i}; mount --bind ${folder}/sysctl-${i} /proc/sys/${key}`,
  );
  return `mount --make-rshared /
mount -t tmpfs tmpfs /sys/fs/cgroup -o mode=755,size=1m
for c in ${CONTROLLERS.join(' ')}; do mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; done
mkdir /sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t tmpfs tmpfs /run -o mode=755; mkdir -p /run/netns /run/lock /run/containerd /run/cni
mkdir -p ${folder}/disk/kubelet ${folder}/disk/containerd ${folder}/disk/pods
mkdir -p /var/log/pods /var/log/containers /var/lib/kubelet
mount --bind ${folder}/disk/pods /var/log/pods; mount -t tmpfs tmpfs /var/log/containers
mount --bind ${folder}/disk/kubelet /var/lib/kubelet
${sysctls.join('\n')}
hostname ${name}; ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.ipv4.conf.all.rp_filter=0
while [ ! -e ${folder}/wired ]; do sleep 0.02; done
ip address add ${address}/24 dev eth0; ip link set eth0 up
${peers.map((peer) => `ip route add ${peer.pods} via ${peer.address}`).join('\n')}
# Services that are asked for from the node itself.
ip route add ${network.services} via ${network.host}
run() { local n=$1; shift; while :; do "$@" >>${folder}/log/$n.log 2>&1; echo "$n: ended with $?" >>${folder}/log/$n.log; sleep 1; done & }
up() { while ! ctr version >/dev/null 2>&1; do sleep 0.05; done; }
unpack() {
  ${containerd} >>${folder}/log/containerd.log 2>&1 & local pid=$! done=yes
  up
  for image in $(cat ${folder}/images); do ctr -n k8s.io images import "$image" || done=; done
  kill $pid; wait $pid
  [ "$done" ] && cp -a ${store} "$1.${network.bridge}-${name}" && mv -T "$1.${network.bridge}-${name}" "$1"
  rm -rf "$1.${network.bridge}-${name}"
}
# Once: they are on the disk of a node that boots again. Another node may have unpacked the same before.
if [ ! -e ${folder}/disk/imported ]; then
  seed=$(cat ${folder}/seed)
  { [ -d "$seed" ] && cp -a "$seed/." ${store} || { rm -rf ${store}/*; unpack "$seed"; }; } >>${folder}/log/import.log 2>&1
  touch ${folder}/disk/imported
fi
run containerd ${containerd}
up
run kubelet ${bin}/kubelet --config ${folder}/kubelet.json --kubeconfig ${folder}/pki/node.kubeconfig --root-dir /var/lib/kubelet --hostname-override ${name} --node-ip ${address} --v 0
run kube-proxy ${bin}/kube-proxy --config ${folder}/proxy.json
while :; do wait -n 2>/dev/null || sleep 0.2; done
`;
}
