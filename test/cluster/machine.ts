/** What this machine can start, and if not, why: for `test(..., { skip })`. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { missing } from '../tools/tool.ts';
import { command } from './command.ts';

/** Why this machine cannot start a cluster, or false. */
export async function clusterMissing(): Promise<false | string> {
  if (process.platform !== 'linux')
    return `a control plane is started on Linux only, this is ${process.platform}`;
  const openssl = await command('openssl', ['version']).catch(() => '');
  return openssl === '' ? 'openssl is not installed' : missing('kubernetes');
}

/** Programs that nodes are made of, by the Debian packages that have them. */
const NODE_PROGRAMS = {
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  nft: 'nftables',
  iptables: 'iptables',
  conntrack: 'conntrack',
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
} as const;

/** Why this machine cannot start a cluster with nodes, or false. */
export async function nodesMissing(): Promise<false | string> {
  const reason = await clusterMissing();
  if (reason) return reason;
  if (process.getuid?.() !== 0) return 'nodes are started by root only';
  const v1 = await readFile('/proc/self/cgroup', 'utf8');
  if (!/:memory:/m.test(v1)) return 'nodes need control groups of version 1';
  const absent = new Set<string>();
  for (const [program, debian] of Object.entries(NODE_PROGRAMS))
    if (!(await command('which', [program]).catch(() => ''))) absent.add(debian);
  if (!existsSync('/usr/lib/cni/bridge')) absent.add('containernetworking-plugins');
  if (absent.size > 0) return `not installed (names of Debian's packages): ${[...absent].join(' ')}`;
  return missing('pause', 'coredns');
}
