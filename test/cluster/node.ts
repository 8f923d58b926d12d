import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from './command.ts';
import { imageSeed } from './image-seed.ts';
import { MAX_NODES, type Network, type NodeAddress, nodeAddress } from './network.ts';
import {
  CONTROLLERS,
  cniConfig,
  containerdToml,
  enterScript,
  initScript,
  kubeletConfig,
  type NodePlace,
  proxyConfig,
  runcScript,
} from './node-files.ts';
import { kubeconfigFor, makeLeaf } from './pki.ts';
import type { Processes } from './processes.ts';

export interface NodeOptions {
  readonly folder: string;
  readonly pki: string;
  readonly bin: string;
  readonly server: string;
  readonly network: Network;
  readonly processes: Processes;
  /** Image archives that the node has before its kubelet starts. */
  readonly images: readonly string[];
  /** Of the node's disk, which is memory: images and volumes. Default 4g. */
  readonly disk?: string;
}

/** Weight of a node's processor time, where one process has 1024. */
const CPU_SHARES = 2 * 1024;

/** How many nodes each knows the way to, from the start. */
const PEERS = 9;

/**
 * A node boxed into namespaces and control groups of its own: containerd, kubelet and kube-proxy, with pods below. One
 * signal ends it as a cut cable and a pulled plug would; what it wrote to its disk stays until `remove`.
 */
export class Node {
  readonly name: string;
  readonly place: NodePlace;
  readonly #options: NodeOptions;
  #prepared = false;

  constructor(index: number, options: NodeOptions) {
    if (index < 1 || index > MAX_NODES) throw new RangeError(`a node's index is from 1 to ${MAX_NODES}`);
    this.name = `node${index}`;
    this.#options = options;
    const { network, pki, bin } = options;
    const others = Array.from({ length: PEERS }, (_, i) => i + 1).filter((other) => other !== index);
    this.place = {
      ...nodeAddress(network, index),
      name: this.name,
      index,
      folder: join(options.folder, 'nodes', this.name),
      pki,
      bin,
      network,
      peers: others.map((other): NodeAddress => nodeAddress(network, other)),
    };
  }

  /** Boots it; the kubelet then registers it in its own time. */
  async start(): Promise<void> {
    const { folder, link, network, index, address, pods } = this.place;
    if (!this.#prepared) await this.#prepare();
    await rm(join(folder, 'wired'), { force: true });
    await writeFile(join(folder, 'cgroups'), `${(await makeGroups(network.bridge, this.name)).join('\n')}\n`);
    const { processes } = this.#options;
    processes.start(this.name, '/bin/sh', ['-c', enterScript, folder]);
    const pid = await this.#firstProcess();
    await command('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
    await command('ip', ['link', 'set', link, 'master', network.bridge, 'up']);
    await command('ip', ['route', 'replace', pods, 'via', address]);
    if (index === 1) await command('ip', ['route', 'replace', network.services, 'via', address]);
    await writeFile(join(folder, 'wired'), '');
  }

  /** Pulls the plug: every process of the node ends at once. */
  async kill(): Promise<void> {
    await this.#options.processes.end(this.name, 'SIGKILL');
    await command('sh', ['-c', cleanupScript, this.place.folder]);
  }

  /** Cuts and mends the node's cable. */
  async connect(connected: boolean): Promise<void> {
    await command('ip', ['link', 'set', this.place.link, connected ? 'up' : 'down']);
  }

  /**
   * Sets the wall clock wrong for containers that start from now on; needs libfaketime (`FAKETIME`).
   * @param offset such as `+3600s`; null: right again
   */
  async shiftClock(offset: string | null): Promise<void> {
    const path = join(this.place.folder, 'clock');
    await (offset === null ? rm(path, { force: true }) : writeFile(path, offset));
  }

  /** Runs a program in the node's namespaces. */
  async run(program: string, args: readonly string[]): Promise<string> {
    const pid = String(await this.#firstProcess());
    return command('nsenter', ['-t', pid, '-m', '-n', '-p', '-u', '-i', program, ...args]);
  }

  /** Brings an image archive onto the node. */
  async load(archive: string): Promise<void> {
    await this.run('ctr', ['-n', 'k8s.io', 'images', 'import', archive]);
  }

  /** Brings the node's images back where its kubelet has removed them to make room: what a registry would do. */
  async reload(): Promise<void> {
    for (const archive of this.#options.images) await this.load(archive);
  }

  /** Last lines of all that the node's programs wrote. */
  async lastWords(): Promise<string> {
    return command('sh', ['-c', `tail -n 5 "$0"/log/*.log`, this.place.folder]).catch(String);
  }

  async #prepare(): Promise<void> {
    const { place } = this;
    const { folder, pki, name, address, network } = place;
    const { server, images, disk = '4g' } = this.#options;
    await Promise.all(
      ['log', 'pki', 'cni', 'disk'].map((part) => mkdir(join(folder, part), { recursive: true })),
    );
    await command('mount', ['-t', 'tmpfs', 'tmpfs', join(folder, 'disk'), '-o', `mode=755,size=${disk}`]);
    const own = join(folder, 'pki');
    const subject = `/O=system:nodes/CN=system:node:${name}`;
    const names = [`DNS:${name}`, `IP:${address}`];
    await makeLeaf(pki, { name: `${name}-node`, ca: 'ca', subject, usage: 'clientAuth' });
    await makeLeaf(pki, {
      name: `${name}-server`,
      ca: 'ca',
      subject: `/CN=${name}`,
      usage: 'serverAuth',
      names,
    });
    const proxySubject = '/CN=system:kube-proxy';
    await makeLeaf(pki, { name: `${name}-proxy`, ca: 'ca', subject: proxySubject, usage: 'clientAuth' });
    const server_ = await Promise.all(
      ['crt', 'key'].map(async (end) => [end, await readFile(join(pki, `${name}-server.${end}`))] as const),
    );
    await Promise.all([
      ...server_.map(([end, bytes]) => writeFile(join(own, `kubelet-server.${end}`), bytes, { mode: 0o600 })),
      writeFile(join(own, 'node.kubeconfig'), await kubeconfigFor(pki, `${name}-node`, server), {
        mode: 0o600,
      }),
      writeFile(join(own, 'proxy.kubeconfig'), await kubeconfigFor(pki, `${name}-proxy`, server), {
        mode: 0o600,
      }),
      writeFile(join(folder, 'containerd.toml'), containerdToml(place)),
      writeFile(join(folder, 'cni', '10-onebyte.conflist'), JSON.stringify(cniConfig(place))),
      writeFile(join(folder, 'kubelet.json'), JSON.stringify(kubeletConfig(place))),
      writeFile(join(folder, 'proxy.json'), JSON.stringify(proxyConfig(place))),
      writeFile(join(folder, 'resolv.conf'), `nameserver ${network.host}\n`),
      writeFile(join(folder, 'images'), `${images.join('\n')}\n`),
      writeFile(join(folder, 'seed'), await imageSeed(images)),
      writeFile(join(folder, 'link'), place.link),
      writeFile(join(folder, 'init.sh'), initScript(place)),
      writeFile(join(folder, 'runc'), runcScript(place), { mode: 0o755 }),
    ]);
    this.#prepared = true;
  }

  /** The process that is number 1 in the node. */
  async #firstProcess(): Promise<number> {
    const parent = this.#options.processes.pid(this.name);
    for (let tries = 0; tries < 400; tries++) {
      const children = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8').catch(() => '');
      for (const child of children.split(' ').filter(Boolean)) {
        // unshare has a short-lived helper beside it.
        const status = await readFile(`/proc/${child}/status`, 'utf8').catch(() => '');
        if (/^NSpid:.*\s1$/m.test(status)) return Number(child);
      }
      const end = this.#options.processes.ended(this.name);
      if (end !== undefined) break;
      await sleep(25);
    }
    throw new Error(`${this.name} did not start: ${this.#options.processes.lastWords(this.name)}`);
  }
}

/** A control group for a node below this process's own, in each hierarchy (version 1). */
async function makeGroups(cluster: string, name: string): Promise<string[]> {
  const own = (await readFile('/proc/self/cgroup', 'utf8')).split('\n');
  const groups: string[] = [];
  for (const controller of [...CONTROLLERS, 'systemd']) {
    const line = own.find((text) => text.split(':')[1]?.split(/[,=]/).includes(controller));
    const parent = join('/sys/fs/cgroup', controller, line?.split(':')[2] ?? '');
    const folder = join(parent, `${cluster}-${name}`);
    await mkdir(folder, { recursive: true });
    if (controller === 'cpuset')
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        await writeFile(join(folder, file), await readFile(join(parent, file)));
    // Beside other work the whole node would otherwise count as one process of it.
    if (controller === 'cpu') await writeFile(join(folder, 'cpu.shares'), String(CPU_SHARES));
    groups.push(folder);
  }
  return groups;
}

const removeGroups = `for group in $(cat "$node/cgroups" 2>/dev/null); do
  for i in $(seq 100); do
    [ -d "$group" ] || break
    find "$group" -depth -type d -exec rmdir {} \\; 2>/dev/null
    [ ! -d "$group" ] || sleep 0.1
  done
done
link=$(cat "$node/link" 2>/dev/null) && ip link del "$link" 2>/dev/null`;

/** Takes away what a node whose processes have been killed left in the kernel. Its folder is the argument. */
const cleanupScript = `node="$0"
${removeGroups}
true`;

/** The same for all nodes of a cluster whose folder is the argument, and for what the cluster itself has. */
export const clusterCleanupScript = `for node in "$1"/nodes/*; do
  [ -d "$node" ] || continue
  ${removeGroups}
  umount -l "$node/disk" 2>/dev/null
done
bridge=$(cat "$1/bridge" 2>/dev/null) && ip link del "$bridge" 2>/dev/null
true`;
