/** A folder with a tiny model, data and jobs in it, and the command line as a real child process. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Finished } from '../../cli/run/results.ts';
import { random, writeTinyFolder } from '../model/tiny.ts';

export const MAIN = join(import.meta.dirname, '../../cli/main.ts');
const WORDS = ['a', 'film', 'was', 'it', 'not', 'very', 'the'];

/** The keys of what `onebyte run --json` prints last: a fixed interface. */
export const RESULT_KEYS = [
  'name',
  'rounds',
  'workers',
  'forwards',
  'examples',
  'payloadBytes',
  'wireBytes',
  'journalBytes',
  'loss',
  'metric',
  'digest',
  'journal',
  'seconds',
];

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command under way. */
export class Running {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  readonly #said = { stdout: '', stderr: '' };
  #wake = Promise.withResolvers<void>();
  #over = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const name of ['stdout', 'stderr'] as const)
      child[name]!.setEncoding('utf8').on('data', (text: string) => {
        this.#said[name] += text;
        this.#stir();
      });
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#over = true;
        this.#stir();
        resolve({ code, signal, ...this.#said });
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get said(): string {
    return this.#said.stdout + this.#said.stderr;
  }

  /** Waits for what it says; fails when it ends without having said it. */
  async says(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.said)) {
      if (this.#over) throw new Error(`ended without ${pattern}:\n${this.said}`);
      await this.#wake.promise;
    }
  }

  /** Process ids of its workers. */
  workers(): number[] {
    return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, parent, ...args]) => Number(parent) === this.pid && args.join(' ').includes('local-worker.ts'),
      )
      .map(([pid]) => Number(pid));
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** As a terminal does: to the whole group. */
  interrupt(): void {
    process.kill(-this.pid, 'SIGINT');
  }

  #stir(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve();
  }
}

type Fields = Record<string, unknown>;

export class Sandbox {
  readonly dir: string;
  readonly model: string;
  readonly sha256: string;

  readonly #closing: (() => void)[];

  private constructor(dir: string, sha256: string, closing: (() => void)[]) {
    this.#closing = closing;
    this.dir = dir;
    this.model = join(dir, 'model');
    this.sha256 = sha256;
  }

  static async create(t: TestContext): Promise<Sandbox> {
    const dir = await mkdtemp(join(tmpdir(), 'onebyte-cli-'));
    const closing: (() => void)[] = [];
    t.after(() => {
      for (const close of closing) close();
      return rm(dir, { recursive: true, force: true });
    });
    const model = join(dir, 'model');
    await writeTinyFolder(model);
    for (const [name, count, seed] of [
      ['train', 48, 1],
      ['validation', 16, 2],
      ['test', 16, 3],
      ['calibration', 24, 4],
    ] as const)
      await writeFile(join(dir, `${name}.jsonl`), rows(count, seed));
    return new Sandbox(dir, sha256(await readFile(join(model, 'model.safetensors'))), closing);
  }

  /** Before its folder is removed. */
  onClose(close: () => void): void {
    this.#closing.push(close);
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /** Writes a job: two workers, a head for 12 rounds. `spec` replaces top fields, `method` fields of the method. */
  async job(spec: Fields = {}, method: Fields = {}, file = 'job.yaml'): Promise<string> {
    const source = (name: string) => [{ name, uri: `${name}.jsonl` }];
    const job = {
      apiVersion: 'onebyte.dev/v1alpha1',
      kind: 'FineTuneJob',
      metadata: { name: 'tiny' },
      spec: {
        seed: 3,
        model: { uri: 'model', sha256: this.sha256 },
        task: {
          type: 'classification',
          text: '{text}',
          label: 'label',
          labels: ['neg', 'pos'],
          maxTokens: 16,
        },
        data: { train: source('train'), validation: source('validation'), test: source('test') },
        evaluation: { everyRounds: 6 },
        replicas: 2,
        method: {
          plan: [{ scope: { type: 'head' }, rounds: 12 }],
          estimator: { radius: 0.01, batch: 8, probes: { min: 1, max: 4 } },
          ...method,
        },
        ...spec,
      },
    };
    // YAML holds JSON.
    await writeFile(this.path(file), JSON.stringify(job, null, 2));
    return this.path(file);
  }

  start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
    let over = false;
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: this.dir,
      env: { ...process.env, ONEBYTE_CACHE: this.path('cache'), NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const running = new Running(child);
    running.ended.then(() => {
      over = true;
    });
    this.onClose(() => {
      if (!over) process.kill(-running.pid, 'SIGKILL');
    });
    return running;
  }

  onebyte(...args: string[]): Promise<Ended> {
    return this.start(args).ended;
  }

  /** Runs a job to its end. */
  async run(job: string, ...args: string[]): Promise<Finished> {
    return resultOf(await this.onebyte('run', job, '--json', ...args));
  }
}

/** The result of a `run --json` that has to have ended well. */
export function resultOf({ code, stdout, stderr }: Ended): Finished {
  if (code !== 0) throw new Error(`ended with ${code}:\n${stdout}\n${stderr}`);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Finished;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Texts of three to ten words, one of which says how they are meant. */
export function rows(count: number, seed: number): string {
  const numbers = random(count * 12, seed).map((x) => (x + 1) / 2);
  const lines = Array.from({ length: count }, (_, i) => {
    const [kind, size, ...picks] = numbers.subarray(12 * i, 12 * (i + 1));
    const words = picks.slice(0, 2 + Math.floor(size! * 8)).map((x) => WORDS[Math.floor(x * WORDS.length)]!);
    const [word, label] = kind! < 0.5 ? ['good', 'pos'] : ['bad', 'neg'];
    return JSON.stringify({ text: [word, ...words].join(' '), label });
  });
  return `${lines.join('\n')}\n`;
}
