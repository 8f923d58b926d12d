/** A cluster with everything installed as a user would: NATS, the chart, volumes, namespaces under the restricted level. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, loadConfig, realClock } from '../../operator/kube/mod.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { layersOf } from '../cluster/image.ts';
import { nodesMissing } from '../cluster/machine.ts';
import { natsArchive } from '../cluster/nats-image.ts';
import { productImage } from '../cluster/product-image.ts';
import { JwtOperator } from '../nats/jwt.ts';
import { chart, helm } from '../operator/chart/helm.ts';
import { missing } from '../tools/tool.ts';
import { makeNamespaces, makeVolumes } from './furniture.ts';
import { merged } from './merged.ts';
import { SYSTEM, TEAM } from './namespaces.ts';
import { NATS_CLAIM, natsValues } from './nats.ts';
import { takePrecedence } from './precedence.ts';
import {
  attach,
  FOREIGN,
  type Forward,
  foreignKubeconfig,
  foreignMissing,
  forward,
  type Reach,
} from './reach.ts';
import { RunWatch } from './run-watch.ts';

/**
 * Why there can be no lab, or false.
 * @param where `own`: for tests that end machines and programs, which are never done to a cluster of somebody else's
 */
export async function labMissing(where: 'own' | 'any' = 'own'): Promise<false | string> {
  const foreign = foreignKubeconfig();
  if (foreign !== null && where === 'own')
    return `${FOREIGN.kubeconfig} is set, and this test ends nodes and programs: it wants a cluster of its own`;
  if (foreign !== null) return (await foreignMissing(foreign)) || missing('helm');
  const reason = await nodesMissing();
  if (reason) return reason;
  for (const program of ['buildah', 'debootstrap']) {
    const found = await new Promise<boolean>((resolve) =>
      execFile('which', [program], (error) => resolve(error === null)),
    );
    if (!found) return `${program} is not installed: it builds the image without a registry`;
  }
  return missing('nats-server', 'helm');
}

interface Bare {
  readonly repository: string;
  readonly tag: string;
  readonly nats: string;
  /** Name of the claim that NATS will make. */
  readonly natsClaim: string;
}

export interface LabOptions {
  readonly nodes?: number;
  /** Values of the chart, over those of the lab. */
  readonly values?: object;
  /** Names of the images, and nothing installed: a test does that itself. */
  readonly bare?: Bare;
}

type Log = (line: string) => void;

interface ImageName {
  readonly repository: string;
  readonly tag: string;
}

/** Milliseconds between two looks: some cost a process, and what waits for them comes late by that. */
const PAUSE = 250;

/** Milliseconds from which on a wait is said: the time of these tests is mostly waits. */
const SAID = 2_000;

/** Seconds since `from`, for people. */
const since = (from: number) => `${((performance.now() - from) / 1000).toFixed(1)} s`;

export class Lab {
  readonly reach: Reach;
  readonly image: ImageName;
  readonly nats = new JwtOperator();
  /** Of the machine, and of every node: what stands for network storage. */
  readonly storage: string;
  readonly #own: Cluster | null;
  readonly #log: Log;
  #forward: Forward | null = null;
  #client: Promise<Client> | null = null;

  private constructor(where: Cluster | Reach, image: ImageName, storage: string, log: Log) {
    this.reach = where;
    this.#own = 'nodes' in where ? where : null;
    this.image = image;
    this.storage = storage;
    this.#log = log;
  }

  /** Cluster, images, NATS and the operator, all ready. @param log told each figure */
  static async start(options: LabOptions, log: Log): Promise<Lab> {
    const foreign = foreignKubeconfig();
    const lab = await (foreign === null ? Lab.#onOwn(options, log) : Lab.#onForeign(foreign, log));
    try {
      await makeVolumes(lab, options.bare?.natsClaim ?? NATS_CLAIM);
      if (options.bare !== undefined) return lab;
      await makeNamespaces(lab);
      await lab.#install(options.values ?? {});
    } catch (error) {
      log(await lab.describe().catch(String));
      await lab.down();
      throw error;
    }
    return lab;
  }

  static async #onOwn({ bare, nodes = 2 }: LabOptions, log: Log): Promise<Lab> {
    await takePrecedence();
    let from = performance.now();
    const image = await productImage(bare?.tag ?? 'e2e', bare?.repository);
    const { repository, tag } = image;
    log(`image ${repository}:${tag}: ${mib(image.bytes)} compressed, there after ${since(from)}`);
    const layers = (await layersOf(image.path)).filter(({ bytes }) => bytes > 100_000);
    log(
      `its layers: ${layers.map((layer) => `${layer.from} ${(layer.bytes / 2 ** 20).toFixed(1)} MiB`).join(', ')}`,
    );
    from = performance.now();
    const images = [image.path, await natsArchive(bare?.nats)];
    const cluster = await startCluster({ nodes, images });
    log(`cluster of ${cluster.nodes.length} nodes with these images: ready after ${since(from)}`);
    // Goes with the cluster, even when this process is killed.
    const storage = join(cluster.folder, 'volumes');
    await mkdir(storage);
    return new Lab(cluster, image, storage, log);
  }

  static async #onForeign(kubeconfig: string, log: Log): Promise<Lab> {
    const [repository, tag] = (process.env[FOREIGN.image] || 'docker.io/library/onebyte:0.1.0').split(
      /:(?=[^/]*$)/,
    ) as [string, string];
    log(`the cluster of ${kubeconfig}, with ${repository}:${tag} and the chart's own image of NATS`);
    const storage = await mkdtemp(join(process.env[FOREIGN.volumes]!, 'onebyte-e2e-'));
    await chmod(storage, 0o755);
    return new Lab(await attach(kubeconfig), { repository, tag }, storage, log);
  }

  /** The cluster of this lab's own, with its machines. */
  get cluster(): Cluster {
    if (this.#own === null) throw new Error('the cluster is not of this lab');
    return this.#own;
  }

  async down(): Promise<void> {
    this.#forward?.close();
    await this.#client?.then((client) => client.close());
    if (this.#own === null) await this.#leave();
    await this.reach.down();
  }

  /** Takes everything out of a cluster that stays. */
  async #leave(): Promise<void> {
    const ignore = () => undefined;
    await this.kubectl('-n', TEAM, 'delete', 'ftj', '--all', '--timeout=120s').catch(ignore);
    await this.helm(['uninstall', 'onebyte', '--wait']).catch(ignore);
    await this.kubectl('delete', 'namespace', TEAM, SYSTEM, '--ignore-not-found').catch(ignore);
    const volumes = [`${TEAM}-models`, `${TEAM}-output`, `${SYSTEM}-${NATS_CLAIM}`];
    await this.kubectl('delete', 'pv', ...volumes, '--ignore-not-found').catch(ignore);
    await this.kubectl('delete', 'crd', 'finetunejobs.onebyte.dev', '--ignore-not-found').catch(ignore);
    await rm(this.storage, { recursive: true, force: true });
  }

  kubectl(...args: string[]): Promise<string> {
    return this.reach.kubectl(args);
  }

  apply(objects: readonly object[]): Promise<string> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    return this.reach.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(list));
  }

  /** Reads a path of the API without a process of its own: for what is looked at again and again. */
  async read<T>(path: string): Promise<T> {
    const { kubeconfig } = this.reach;
    this.#client ??= loadConfig({ clock: realClock, kubeconfig }).then(
      (config) =>
        new Client({ config, clock: realClock, random: Math.random, fieldManager: 'test', attempts: 1 }),
    );
    return (await this.#client).read<T>(path);
  }

  async get<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.kubectl('get', ...args, '-o', 'json')) as T;
  }

  /** Runs helm on the release of the chart. @throws Error with its words */
  async helm(args: string[], values?: object): Promise<string> {
    const { code, stdout, stderr } = await helm(
      [...args, '--namespace', SYSTEM],
      values,
      this.reach.kubeconfig,
    );
    if (code !== 0) throw new Error(`helm ${args[0]}: ${stderr}`);
    return stdout;
  }

  /** Values of the chart as this lab sets them. */
  get values(): object {
    const { repository, tag } = this.image;
    return {
      image: { repository, tag, pullPolicy: this.#own === null ? 'IfNotPresent' : 'Never' },
      nats: {
        enabled: true,
        operatorSecret: 'nats-operator',
        account: { seedSecret: 'nats-account' },
        logMaxBytes: 16 * 2 ** 20,
      },
      'nats-server': natsValues(this.nats.config, this.#own !== null),
      operator: { pollSeconds: 1 },
    };
  }

  /** NATS, as this machine reaches it. */
  async natsUrl(): Promise<string> {
    if (this.#own === null) {
      this.#forward ??= await forward(this.reach, SYSTEM, 'service/nats :4222');
      return `nats://127.0.0.1:${this.#forward.port}`;
    }
    const path = 'jsonpath={.spec.clusterIP}';
    const address = await this.kubectl('-n', SYSTEM, 'get', 'service', 'nats', '-o', path);
    return `nats://${address}:4222`;
  }

  /** Follows the run of a job by its log. */
  async watch(uid: string): Promise<RunWatch> {
    await writeFile(this.watcherCredentials, this.nats.credentials('watcher'), { mode: 0o600 });
    return RunWatch.start(await this.natsUrl(), this.watcherCredentials, uid);
  }

  get watcherCredentials(): string {
    return join(this.storage, 'watcher.creds');
  }

  /** A folder on the volume of that name. */
  volume(name: string): string {
    return join(this.storage, name);
  }

  /** Makes a namespace in which only restricted pods may run. */
  async restrictedNamespace(name: string): Promise<void> {
    const labels = {
      'pod-security.kubernetes.io/enforce': 'restricted',
      'pod-security.kubernetes.io/warn': 'restricted',
    };
    await this.apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }]);
  }

  /** What a person would look at when something does not come about. */
  async describe(): Promise<string> {
    const parts = [
      ['get', 'pods,pvc,ftj', '-A', '-o', 'wide'],
      ['get', 'events', '-A', '--sort-by=.metadata.creationTimestamp'],
      ['-n', SYSTEM, 'logs', 'deployment/onebyte', '--tail=20'],
    ];
    const texts = await Promise.all(parts.map((part) => this.kubectl(...part).catch(String)));
    return texts.map((text) => text.split('\n').slice(-40).join('\n')).join('\n---\n');
  }

  async #install(values: object): Promise<void> {
    const from = performance.now();
    const installed = this.helm(
      ['install', 'onebyte', chart, '--wait', '--timeout', '3m'],
      merged(this.values, values),
    );
    const path = 'jsonpath={.status.readyReplicas}';
    const ready = () => this.kubectl('-n', SYSTEM, 'get', 'deployment', 'onebyte', '-o', path);
    const operator = this.until('the operator is ready', async () => (await ready().catch(() => '')) === '1');
    // The one that fails first says why.
    await Promise.race([operator, installed.then(() => operator)]);
    this.#log(`helm install: the operator is ready after ${since(from)}`);
    await installed;
    this.#log(`helm install --wait with NATS: ${since(from)}`);
  }

  /** Waits until something is so, and says what there is when it does not come. @returns milliseconds */
  async until(what: string, isSo: () => boolean | Promise<boolean>, limitMs = 300_000): Promise<number> {
    const from = performance.now();
    // Asking costs a process each time: not so often that the answer comes late by that.
    while (!(await isSo())) {
      const waited = performance.now() - from;
      if (waited > limitMs) {
        this.#log(await this.describe());
        throw new Error(`not so after ${limitMs} ms: ${what}`);
      }
      await sleep(PAUSE);
    }
    const waited = performance.now() - from;
    if (waited > SAID) this.#log(`waited ${since(from)}: ${what}`);
    return waited;
  }
}

export const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
