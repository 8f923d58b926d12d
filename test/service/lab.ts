import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { sha256File } from '../../worker/data/download.ts';
import { writeTinyFolder } from '../model/tiny.ts';
import { freshUid } from '../nats/job.ts';
import type { NatsSystem } from '../nats/server.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');
const WORDS = ['good', 'bad', 'a', 'film', 'was', 'it', 'not', 'very', 'the'];

export interface LabJob {
  readonly name?: string;
  readonly rounds?: number;
  readonly scope?: object;
  readonly probes?: number;
  readonly everyRounds?: number;
  readonly seed?: number;
  /** More of `spec.method`. */
  readonly method?: object;
  readonly checkpoint?: number;
  readonly output?: object;
}

/** A folder with a tiny model, data for several parties and job files, as a person or the operator would make them. */
export class Lab {
  readonly folder: string;
  #sha256 = '';

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(parties = 3): Promise<Lab> {
    const lab = new Lab(await mkdtemp(join(tmpdir(), 'onebyte-lab-')));
    await writeTinyFolder(lab.path('model'));
    lab.#sha256 = await sha256File(lab.path('model/model.safetensors'));
    await mkdir(lab.path('data'));
    for (let party = 0; party < parties; party++)
      for (const [split, rows] of [
        ['train', 40],
        ['validation', 12],
      ] as const)
        await writeFile(lab.path(`data/${party}-${split}.jsonl`), rowsOf(rows, party * 100 + rows));
    return lab;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Writes a job file in which each party is a group of its own. */
  async job(changes: LabJob = {}, file = 'job.yaml', parties = 3): Promise<string> {
    const { name = 'lab', rounds = 30, probes = 4, everyRounds = 10, seed = 1, method, checkpoint } = changes;
    const { scope = { type: 'lora', rank: 2 }, output } = changes;
    const source = (party: number, split: string) => ({
      name: `p${party}`,
      uri: `data/${party}-${split}.jsonl`,
    });
    const job = {
      apiVersion: 'onebyte.dev/v1alpha1',
      kind: 'FineTuneJob',
      metadata: { name },
      spec: {
        seed,
        model: { uri: 'model', sha256: this.#sha256 },
        task: {
          type: 'classification',
          text: '{text}',
          label: '{label}',
          labels: ['negative', 'positive'],
          maxTokens: 16,
        },
        method: {
          plan: [{ scope, rounds }],
          estimator: { radius: 1e-2, batch: 8, probes: { min: 1, max: probes } },
          ...method,
        },
        evaluation: { everyRounds },
        checkpoint: { everyRounds: checkpoint ?? 10 },
        ...(output && { output }),
        groups: Array.from({ length: parties }, (_, party) => ({
          name: `p${party}`,
          data: { train: [source(party, 'train')], validation: [source(party, 'validation')] },
        })),
      },
    };
    await writeFile(this.path(file), stringify(job));
    return this.path(file);
  }

  /** A worker of a party, over NATS. `env` is put over what the operator would set. */
  worker(system: NatsSystem, uid: string, party: number, env: Record<string, string> = {}): WorkerProcess {
    return new WorkerProcess(this.#environment(system, uid, party, env));
  }

  /** What writes the model once the run has ended, with a cache of its own. */
  exporter(system: NatsSystem, uid: string, env: Record<string, string> = {}): WorkerProcess {
    const own = { ONEBYTE_WORKER: 'lab-export', ONEBYTE_CACHE: this.path('cache-export'), ...env };
    return new WorkerProcess(this.#environment(system, uid, 0, own), 'export-run');
  }

  #environment(system: NatsSystem, uid: string, party: number, env: Record<string, string>) {
    const worker = env.ONEBYTE_WORKER ?? `lab-p${party}-0`;
    return {
      ONEBYTE_JOB: this.path('job.yaml'),
      ONEBYTE_JOB_UID: uid,
      ONEBYTE_WORKER: worker,
      ONEBYTE_GROUP: `p${party}`,
      ONEBYTE_PORT: '0',
      ONEBYTE_HOST: '127.0.0.1',
      ONEBYTE_THREADS: '1',
      ONEBYTE_CACHE: this.path(`cache-${party}`),
      ONEBYTE_NATS_URL: system.urls.join(','),
      ONEBYTE_TERMINATION_LOG: this.termination(worker),
      ...env,
    };
  }

  termination(worker: string): string {
    return this.path(`termination-${worker}`);
  }

  /** What a worker wrote down about its end; '' for nothing. */
  lastWords(worker: string): Promise<string> {
    return readFile(this.termination(worker), 'utf8').catch(() => '');
  }

  freshUid(): string {
    return freshUid();
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

export interface LogLine {
  readonly msg: string;
  readonly level: number;
  readonly [field: string]: unknown;
}

/** `onebyte worker`, or another command for pods, in a process of its own. */
export class WorkerProcess {
  readonly lines: LogLine[] = [];
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
  stderr = '';
  readonly #child: ChildProcess;
  #changed = Promise.withResolvers<void>();

  constructor(env: Readonly<Record<string, string>>, command = 'worker') {
    this.#child = fork(MAIN, [command], {
      env: {
        PATH: process.env.PATH ?? '',
        HOME: process.env.HOME ?? '',
        NODE_COMPILE_CACHE: join(tmpdir(), 'onebyte-test-compiled'),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.ended = once(this.#child, 'exit').then(([code, signal]) => ({ code, signal }));
    this.ended.then(() => this.#notify());
    let rest = '';
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop()!;
      for (const part of parts) this.lines.push(JSON.parse(part) as LogLine);
      this.#notify();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
  }

  /** Resolves once it has said this. */
  async said(text: RegExp): Promise<LogLine> {
    for (;;) {
      const line = this.lines.find(({ msg }) => text.test(msg));
      if (line !== undefined) return line;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`ended without saying ${text}: ${this.stderr}\n${JSON.stringify(this.lines.at(-1))}`);
      await this.#changed.promise;
    }
  }

  async get(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const { port } = await this.said(/health and metrics/);
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, text: await response.text() };
  }

  /** Asks until the page answers with this status. */
  async answers(path: string, status: number): Promise<string> {
    for (;;) {
      const page = await this.get(path);
      if (page.status === status) return page.text;
      await sleep(50);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

function rowsOf(count: number, salt: number): string {
  const rows = Array.from({ length: count }, (_, row) => {
    const label = (row + salt) % 2 === 0 ? 'positive' : 'negative';
    const words = Array.from(
      { length: 4 + (row % 5) },
      (_, i) => WORDS[(row * 7 + i * 3 + salt) % WORDS.length],
    );
    return JSON.stringify({ text: [label === 'positive' ? 'good' : 'bad', ...words].join(' '), label });
  });
  return `${rows.join('\n')}\n`;
}
