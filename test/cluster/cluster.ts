import { mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tool } from '../tools/tool.ts';
import { command } from './command.ts';
import {
  apiServerFlags,
  auditPolicy,
  authentication,
  type ControlPlaneOptions,
  controllerManagerFlags,
  etcdFlags,
  NO_NODES,
  PORTS,
  type PortName,
  schedulerFlags,
  serverNames,
} from './control-plane.ts';
import { applyDns } from './dns.ts';
import { claimNetwork, type Network } from './network.ts';
import { clusterCleanupScript, Node, type NodeOptions } from './node.ts';
import { adminUser, controlPlaneLeaves, kubeconfigFor, makeLeaf, makePki } from './pki.ts';
import { freePorts } from './ports.ts';
import { Processes } from './processes.ts';
import { systemImages } from './system-images.ts';

export { clusterMissing } from './machine.ts';

/** Milliseconds after which nothing comes any more, on a machine however busy. */
const LONG = 600_000;

export type Component = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler';

export interface ClusterOptions {
  /** Runs kube-controller-manager: service accounts, garbage collection, namespaces that end. Default false. */
  readonly controllerManager?: boolean;
  /** Runs kube-scheduler. Default false. */
  readonly scheduler?: boolean;
  /** Writes every changing call to `audit.log` in the cluster's folder. Default false. */
  readonly audit?: boolean;
  readonly apiServerFlags?: readonly string[];
  /** Nodes that run pods, with DNS. They bring controller manager and scheduler with them. Default 0. */
  readonly nodes?: number;
  /** Image archives that each node has, beside those of pause and CoreDNS. */
  readonly images?: readonly string[];
  /** Size of each node's disk, which is memory. Default 4g. */
  readonly disk?: string;
  /** An empty or missing folder that outlives this process; default a temporary one that does not. */
  readonly folder?: string;
}

/** Starts a real control plane (etcd and kube-apiserver at least) and waits until it is ready. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  for (let attempt = 1; ; attempt++) {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'onebyte-cluster-')));
    const network = options.nodes ? await joinNetwork(folder) : null;
    const cluster = new Cluster(folder, options, await freePorts(PORTS), network);
    try {
      await cluster.start();
      return cluster;
    } catch (error) {
      await cluster.down();
      // Another run took a port between the choice and the start.
      if (attempt === 3 || !/address already in use/.test(String(error))) throw error;
    }
  }
}

/** What takes the network away again is written before there is one. */
async function joinNetwork(folder: string): Promise<Network> {
  await writeFile(join(folder, 'cleanup.sh'), clusterCleanupScript);
  const network = await claimNetwork();
  await writeFile(join(folder, 'bridge'), network.bridge);
  return network;
}

/** A running control plane. Everything it made is in `folder` and goes with `down`. */
export class Cluster {
  readonly folder: string;
  readonly url: string;
  /** Path of the administrator's kubeconfig. */
  readonly kubeconfig: string;
  readonly processes: Processes;
  /** Where pods and services are; null without nodes. */
  readonly network: Network | null;
  readonly nodes: Node[] = [];
  readonly #options: ClusterOptions;
  readonly #plane: ControlPlaneOptions;
  /** Milliseconds from nothing to ready. */
  startMs = 0;

  constructor(
    folder: string,
    options: ClusterOptions,
    ports: Record<PortName, number>,
    network: Network | null,
  ) {
    const host = network?.host ?? '127.0.0.1';
    this.network = network;
    this.folder = folder;
    this.url = `https://${host}:${ports.apiServer}`;
    this.kubeconfig = join(folder, 'pki', 'admin.kubeconfig');
    this.processes = new Processes(folder, options.folder === undefined);
    this.#options = options;
    this.#plane = {
      folder,
      host,
      ports,
      services: (network ?? NO_NODES).services,
      controllerManager: options.controllerManager ?? network !== null,
      audit: options.audit ?? false,
      apiServerFlags: options.apiServerFlags ?? [],
    };
  }

  get pki(): string {
    return join(this.folder, 'pki');
  }

  async start(): Promise<void> {
    const begin = performance.now();
    await this.#prepare();
    const system = this.network === null ? [] : await systemImages();
    const nodes = Array.from({ length: this.#options.nodes ?? 0 }, () => this.#newNode(system));
    // Nodes boot at the same time: to unpack their images takes as long as all the rest. Whatever fails, nothing still starts.
    const started = await Promise.allSettled([this.#startPlane(), ...nodes.map((node) => node.start())]);
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    if (this.network !== null) await this.#joinNodes(this.network);
    this.startMs = performance.now() - begin;
  }

  async #startPlane(): Promise<void> {
    await this.#run('etcd', etcdFlags(this.#plane));
    await this.startApiServer();
  }

  /** Starts the API server and, once it is ready, what cannot do without it. */
  async startApiServer(): Promise<void> {
    await this.#run('kube-apiserver', apiServerFlags(this.#plane));
    const ca = await readFile(join(this.pki, 'ca.crt'));
    await this.#until('kube-apiserver', () => isReady(this.url, ca));
    // Both read RBAC objects that exist only once the API server is ready, and do not try again.
    if (this.#plane.controllerManager) {
      await this.#run('kube-controller-manager', controllerManagerFlags(this.#plane));
      await this.#until('service accounts', () => this.#hasServiceAccount());
    }
    if (this.#options.scheduler ?? this.network !== null)
      await this.#run('kube-scheduler', schedulerFlags(this.#plane));
  }

  /**
   * Ends the API server, with SIGKILL unless told otherwise; its data stay in etcd. The controller manager and the scheduler
   * end with it, as they do elsewhere soon after when they cannot renew their leases, to be started again. (These have no
   * leases, and the scheduler may end by itself, or wait for minutes, over what happened in the meantime.)
   */
  async stopApiServer(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    for (const name of ['kube-apiserver', 'kube-scheduler', 'kube-controller-manager'])
      await this.processes.end(name, signal);
  }

  /** One more node, once it is ready. */
  async addNode(options: Partial<NodeOptions> = {}): Promise<Node> {
    const node = this.#newNode(await systemImages(), options);
    await node.start();
    await this.nodeIs(node, true);
    return node;
  }

  #newNode(system: readonly string[], options: Partial<NodeOptions> = {}): Node {
    const { folder, pki, url, network, processes } = this;
    if (network === null) throw new Error('a cluster without nodes has no network for one');
    const { images = [], disk } = this.#options;
    const bin = join(folder, 'bin');
    const archives = [...system, ...images];
    const given = { folder, pki, bin, server: url, network, processes, images: archives };
    const node = new Node(this.nodes.length + 1, { ...given, ...(disk && { disk }), ...options });
    this.nodes.push(node);
    return node;
  }

  /** Waits until the control plane sees a node as ready, or as not. */
  async nodeIs(node: Node, ready: boolean): Promise<void> {
    const path = '{.status.conditions[?(@.type=="Ready")].status}';
    const isSo = async () => {
      const found = this.kubectl(['get', 'node', node.name, '-o', `jsonpath=${path}`]).catch(() => '');
      const status = await found;
      return status !== '' && (status === 'True') === ready;
    };
    // kubectl costs more than the wait.
    await this.#until(`${node.name} is ${ready ? '' : 'not '}ready`, isSo, 1_000).catch(
      async (error: Error) => {
        throw new Error(`${error.message}\n${await node.lastWords()}`);
      },
    );
  }

  /** Makes etcd forget everything before a revision, as it does in time on a busy cluster. */
  async compact(revision: number): Promise<void> {
    const body = JSON.stringify({ revision: String(revision), physical: true });
    const url = `http://127.0.0.1:${this.#plane.ports.etcd}/v3/kv/compaction`;
    const answer = await fetch(url, { method: 'POST', body });
    if (!answer.ok) throw new Error(`etcd: ${await answer.text()}`);
    await answer.body?.cancel();
  }

  /** Ends everything and removes the folder. Safe to call twice. */
  async down(): Promise<void> {
    await this.processes.killAll();
  }

  /** Runs kubectl as the administrator and gives what it printed. */
  async kubectl(args: readonly string[], stdin = ''): Promise<string> {
    const kubectl = join(this.folder, 'bin', 'kubectl');
    return command(kubectl, [`--kubeconfig=${this.kubeconfig}`, ...args], stdin);
  }

  /** A kubeconfig file for one more user, e.g. `('jane', ['data-owners'])`; RBAC decides what that user may do. */
  async userKubeconfig(user: string, groups: readonly string[] = []): Promise<string> {
    const subject = `${groups.map((group) => `/O=${group}`).join('')}/CN=${user}`;
    await makeLeaf(this.pki, { ...adminUser, name: user, subject });
    return this.#writeKubeconfig(user);
  }

  /**
   * What a pod finds in /var/run/secrets/kubernetes.io/serviceaccount, for an existing service account: a folder with
   * `token`, `ca.crt` and `namespace`.
   */
  async serviceAccountFolder(namespace: string, name: string): Promise<string> {
    const folder = join(this.folder, `account-${namespace}-${name}`);
    await mkdir(folder, { recursive: true });
    const token = await this.kubectl(['-n', namespace, 'create', 'token', name]);
    await writeFile(join(folder, 'token'), token.trim());
    await writeFile(join(folder, 'ca.crt'), await readFile(join(this.pki, 'ca.crt')));
    await writeFile(join(folder, 'namespace'), namespace);
    return folder;
  }

  async #prepare(): Promise<void> {
    const { folder, host } = this.#plane;
    const { apiService } = this.network ?? NO_NODES;
    const [program] = await Promise.all([
      tool('kubernetes'),
      makePki(this.pki, controlPlaneLeaves(serverNames(host, apiService))),
      mkdir(join(folder, 'etcd'), { recursive: true, mode: 0o700 }),
      mkdir(join(folder, 'bin'), { recursive: true }),
    ]);
    const programs = [
      ...['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
      ...['kubelet', 'kube-proxy', 'kubectl'],
    ];
    await Promise.all([
      ...programs.map((name) => symlink(program, join(folder, 'bin', name))),
      ...['admin', 'controller-manager', 'scheduler'].map((user) => this.#writeKubeconfig(user)),
      writeFile(join(folder, 'authentication.json'), JSON.stringify(authentication)),
      writeFile(join(folder, 'audit-policy.json'), JSON.stringify(auditPolicy)),
    ]);
  }

  async #joinNodes({ dns }: Network): Promise<void> {
    // What lets the API server ask kubelets for logs and run commands in pods.
    const rights = ['--clusterrole=system:kubelet-api-admin', '--group=kube:kubelet-clients'];
    await this.kubectl(['create', 'clusterrolebinding', 'kubelet-clients', ...rights]);
    await applyDns(this, dns);
    await Promise.all(this.nodes.map((node) => this.nodeIs(node, true)));
    await this.kubectl(['-n', 'kube-system', 'rollout', 'status', 'deployment/coredns', '--timeout=600s']);
  }

  async #writeKubeconfig(user: string): Promise<string> {
    const path = join(this.pki, `${user}.kubeconfig`);
    await writeFile(path, await kubeconfigFor(this.pki, user, this.url), { mode: 0o600 });
    return path;
  }

  async #run(component: Component, flags: readonly string[]): Promise<void> {
    this.processes.start(component, join(this.folder, 'bin', component), flags);
  }

  async #hasServiceAccount(): Promise<boolean> {
    const found = this.kubectl(['-n', 'default', 'get', 'serviceaccount', 'default', '-o', 'name']);
    return found.then(
      () => true,
      () => false,
    );
  }

  async #until(what: string, isDone: () => Promise<boolean>, pauseMs = 50): Promise<void> {
    const deadline = performance.now() + LONG;
    while (!(await isDone())) {
      for (const component of ['etcd', 'kube-apiserver'] as const) {
        const end = this.processes.ended(component);
        if (end !== undefined)
          throw new Error(`${component}: ${end}\n${this.processes.lastWords(component)}`);
      }
      if (performance.now() > deadline) throw new Error(`${what}: not ready after ${LONG / 1000} s`);
      await sleep(pauseMs);
    }
  }
}

function isReady(url: string, ca: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request(`${url}/readyz`, { ca, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(false));
    call.end();
  });
}
