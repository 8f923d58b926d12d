/** The operator as the bench runs it: the built program, with the chart's settings, as its service account. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parse } from 'yaml';
import type { Cluster } from '../../test/cluster/cluster.ts';
import type { NatsSystem } from '../../test/nats/server.ts';

const root = join(import.meta.dirname, '..', '..');
/** The chart's defaults, which are what is measured. */
const chart = parse(await readFile(join(root, 'charts', 'onebyte', 'values.yaml'), 'utf8')) as {
  readonly operator: { readonly nodeOptions: string };
};

export interface OperatorOptions {
  /** The folder that `compiledCopy` made. */
  readonly built: string;
  readonly cluster: Cluster;
  readonly nats: NatsSystem;
  /** Folder of its service account. */
  readonly account: string;
  /** Calls to the API server, and jobs looked at, at once. */
  readonly calls: number;
  readonly concurrency: number;
}

export class Operator {
  readonly child: ChildProcess;
  port = 0;
  leadsAt = 0;
  readonly leads: Promise<void>;

  constructor({ built, cluster, nats, account, calls, concurrency }: OperatorOptions) {
    const { hostname, port } = new URL(cluster.url);
    const { PATH = '' } = process.env;
    this.child = spawn(process.execPath, [join(built, 'dist', 'main.js'), 'operator'], {
      env: {
        PATH,
        NODE_OPTIONS: chart.operator.nodeOptions,
        KUBERNETES_SERVICE_HOST: hostname,
        KUBERNETES_SERVICE_PORT: port,
        ONEBYTE_ACCOUNT_FOLDER: account,
        ONEBYTE_IMAGE: 'onebyte:1',
        ONEBYTE_NATS_URL: nats.url(),
        ONEBYTE_PORT: '0',
        ONEBYTE_HOST: '127.0.0.1',
        // A server reserves what a job may take.
        ONEBYTE_LOG_MAX_BYTES: String(2 ** 20),
        ONEBYTE_STORE_MAX_BYTES: String(2 ** 20),
        ONEBYTE_CALLS_AT_ONCE: String(calls),
        ONEBYTE_CONCURRENCY: String(concurrency),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const leads = Promise.withResolvers<void>();
    this.leads = leads.promise;
    createInterface(this.child.stdout!).on('line', (line) => {
      const { port, msg, level } = JSON.parse(line) as { port?: number; msg: string; level: number };
      if (port !== undefined) this.port = port;
      if (level >= 40) console.error(line);
      if (msg !== 'leading') return;
      this.leadsAt = performance.now();
      leads.resolve();
    });
  }

  /** The sum of all series of that name. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.port}/metrics`)).text();
    const series = text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, 'gm'));
    return [...series].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** MiB. */
  async memory(): Promise<number> {
    const status = await readFile(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1_024;
  }

  /** Connections to a port that the process holds now. */
  async connections(port: number): Promise<number> {
    const folder = `/proc/${this.child.pid}/fd`;
    const links = await Promise.all(
      (await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => '')),
    );
    const inodes = new Set(
      links.map((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1]).filter((inode) => inode !== undefined),
    );
    const table = (await readFile(`/proc/${this.child.pid}/net/tcp`, 'utf8')).split('\n').slice(1);
    const hex = port.toString(16).toUpperCase().padStart(4, '0');
    return table.filter((line) => {
      const [, , remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/);
      return remote.endsWith(`:${hex}`) && state === '01' && inodes.has(inode);
    }).length;
  }

  /** Processor seconds so far. */
  async cpu(): Promise<number> {
    const stat = await readFile(`/proc/${this.child.pid}/stat`, 'utf8');
    const fields = stat.split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async stop(): Promise<void> {
    this.child.kill('SIGTERM');
    if (this.child.exitCode === null) await new Promise((resolve) => this.child.once('exit', resolve));
  }
}
