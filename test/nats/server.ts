import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../cluster/ports.ts';
import { Processes } from '../cluster/processes.ts';
import { tool } from '../tools/tool.ts';

export interface NatsOptions {
  /** Servers of one cluster; 1 by default. */
  readonly count?: 1 | 3;
  /** More of the configuration of each server, as JSON: accounts, authorization, tls, max_payload, ... */
  readonly config?: object;
  /** Changes below `jetstream`; null turns JetStream off. */
  readonly jetstream?: object | null;
  /** Where clients connect; by default from this machine alone. */
  readonly host?: string;
  /** Whether leaf nodes may connect. */
  readonly leaves?: boolean;
  /** Servers, given by `leafUrl`, of which this is a leaf node; the remotes may carry an account and credentials. */
  readonly remotes?: readonly object[];
}

interface Ports {
  readonly client: number;
  readonly cluster: number;
  readonly leaf: number;
}

const START_TIMEOUT = 20_000;

/** Real NATS servers with a folder of their own. They end, and their folder goes, even when this process is killed. */
export class NatsSystem {
  readonly folder: string;
  readonly #processes: Processes;
  readonly #program: string;
  readonly #options: NatsOptions;
  readonly #ports: readonly Ports[];
  #config: object;

  private constructor(folder: string, program: string, ports: readonly Ports[], options: NatsOptions) {
    this.folder = folder;
    this.#program = program;
    this.#ports = ports;
    this.#options = options;
    this.#config = options.config ?? {};
    this.#processes = new Processes(folder, true);
  }

  static async start(options: NatsOptions = {}): Promise<NatsSystem> {
    const program = await tool('nats-server');
    for (let tries = 0; ; tries++) {
      const folder = await mkdtemp(join(tmpdir(), 'onebyte-nats-'));
      const ports: Ports[] = [];
      for (let i = 0; i < (options.count ?? 1); i++)
        ports.push({ client: await freePort(), cluster: await freePort(), leaf: await freePort() });
      const system = new NatsSystem(folder, program, ports, options);
      try {
        await Promise.all(ports.map((_, i) => system.start(i)));
        return system;
      } catch (error) {
        await system.end();
        // Somebody else may have taken a port meanwhile.
        if (tries === 3 || !/address already in use/.test(String(error))) throw error;
      }
    }
  }

  get count(): number {
    return this.#ports.length;
  }

  get urls(): string[] {
    return this.#ports.map((_, i) => this.url(i));
  }

  url(i = 0): string {
    return `nats://127.0.0.1:${this.#ports[i]!.client}`;
  }

  leafUrl(i = 0, user = ''): string {
    return `nats-leaf://${user === '' ? '' : `${user}@`}127.0.0.1:${this.#ports[i]!.leaf}`;
  }

  store(i = 0): string {
    return join(this.folder, `store-${i}`);
  }

  async start(i = 0): Promise<void> {
    await writeFile(this.#configFile(i), `${JSON.stringify(this.#configuration(i), null, 2)}\n`);
    const said = (await this.log(i)).length;
    this.#processes.start(`nats-${i}`, this.#program, ['-c', this.#configFile(i)]);
    await this.#answers(i, said);
  }

  /** kill -9. */
  async kill(i = 0): Promise<void> {
    await this.#processes.end(`nats-${i}`, 'SIGKILL');
  }

  /** The orderly end. */
  async stop(i = 0): Promise<void> {
    await this.#processes.end(`nats-${i}`, 'SIGTERM');
  }

  async restart(i = 0): Promise<void> {
    await this.kill(i);
    await this.start(i);
  }

  /** SIGSTOP and SIGCONT: a server that hangs. */
  pause(i = 0): void {
    this.#processes.signal(`nats-${i}`, 'SIGSTOP');
  }

  resume(i = 0): void {
    this.#processes.signal(`nats-${i}`, 'SIGCONT');
  }

  /** What the servers are configured with at their next start. */
  configure(config: object): void {
    this.#config = config;
  }

  /** Other accounts or users, without a restart. */
  async reload(config: object): Promise<void> {
    this.configure(config);
    for (let i = 0; i < this.count; i++) {
      await writeFile(this.#configFile(i), `${JSON.stringify(this.#configuration(i), null, 2)}\n`);
      this.#processes.signal(`nats-${i}`, 'SIGHUP');
    }
    await sleep(200);
  }

  /** Copies the store of a server, which need not stop for it: what a backup would find. */
  async save(name: string, i = 0): Promise<void> {
    const copy = join(this.folder, `saved-${name}`);
    await rm(copy, { recursive: true, force: true });
    await cp(this.store(i), copy, { recursive: true });
  }

  /** Puts a saved store back; the server is stopped. */
  async restore(name: string, i = 0): Promise<void> {
    await rm(this.store(i), { recursive: true, force: true });
    await cp(join(this.folder, `saved-${name}`), this.store(i), { recursive: true });
  }

  /** Empties the disk of a server that is stopped. */
  async wipe(i = 0): Promise<void> {
    const old = `${this.store(i)}.old`;
    await rename(this.store(i), old);
    await rm(old, { recursive: true, force: true });
  }

  /** The files that hold the messages of a stream, oldest first. */
  async blocks(stream: string, i = 0): Promise<string[]> {
    const files = await readdir(this.store(i), { recursive: true });
    return files
      .filter((file) => file.includes(`/streams/${stream}/msgs/`) && file.endsWith('.blk'))
      .sort((a, b) => Number.parseInt(a.split('/').at(-1)!, 10) - Number.parseInt(b.split('/').at(-1)!, 10))
      .map((file) => join(this.store(i), file));
  }

  /** What a server has said so far. */
  async log(i = 0): Promise<string> {
    return readFile(join(this.folder, 'log', `nats-${i}.log`), 'utf8').catch(() => '');
  }

  memory(i = 0): Promise<number> {
    return this.#processes.memory(`nats-${i}`);
  }

  end(): Promise<void> {
    return this.#processes.killAll();
  }

  #configFile(i: number): string {
    return join(this.folder, `nats-${i}.conf`);
  }

  #configuration(i: number): object {
    const { jetstream, leaves, remotes, host = '127.0.0.1' } = this.#options;
    const { client, cluster, leaf } = this.#ports[i]!;
    const routes = this.#ports.map((ports) => `nats://127.0.0.1:${ports.cluster}`);
    const leafnodes = {
      ...(leaves === true ? { listen: `127.0.0.1:${leaf}` } : {}),
      ...(remotes === undefined ? {} : { remotes, reconnect: '1s' }),
    };
    return {
      server_name: `n${i}`,
      listen: `${host}:${client}`,
      max_traced_msg_len: 256,
      ...(jetstream === null ? {} : { jetstream: { store_dir: this.store(i), ...jetstream } }),
      ...(this.count === 1 ? {} : { cluster: { name: 'c', listen: `127.0.0.1:${cluster}`, routes } }),
      ...(leaves === true || remotes !== undefined ? { leafnodes } : {}),
      ...this.#config,
    };
  }

  /** @param before length of what it said before this start */
  async #answers(i: number, before: number): Promise<void> {
    const name = `nats-${i}`;
    for (const until = Date.now() + START_TIMEOUT; Date.now() < until; await sleep(20)) {
      const ended = this.#processes.ended(name);
      if (ended !== undefined) throw new Error(`${name}: ${ended}\n${this.#processes.lastWords(name)}`);
      const said = (await this.log(i)).slice(before);
      if (/Server is ready/.test(said) && (await accepts(this.#ports[i]!.client))) return;
    }
    throw new Error(`${name} did not start\n${this.#processes.lastWords(name)}`);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
