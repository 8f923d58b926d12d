/**
 * The formulas of docs/sizing.md beside what is measured:
 *
 *     node bench/sizing.ts log [--rounds 200]       bytes of the log, and on the sockets, for some numbers of workers and probes
 *     node bench/sizing.ts memory [--model DIR]     resident memory of the workers of `onebyte run`, for some models and scopes, or the one given (a Hugging Face folder in 32-bit floats)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { writeTinyFolder } from '../test/model/tiny.ts';
import { type Done, Fleet } from '../test/nats/fleet.ts';
import { TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { resolveModel } from '../worker/data/cache.ts';
import { sha256File } from '../worker/data/download.ts';
import { checkStream } from '../worker/nats/stream.ts';
import { entryBytes, receivedBytes, sentBytes, workerBytes } from './lib/sizing.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '200' }, model: { type: 'string' } },
});
const root = join(import.meta.dirname, '..');
const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** Measured, by the formula, and the first as a share of the second. */
function said(measured: number, formula: number, unit: (value: number) => string): string {
  return `${unit(measured)} (formula ${unit(formula)}: ${(measured / formula).toFixed(2)})`;
}

async function measureLog(): Promise<void> {
  const rounds = Number(values.rounds);
  const bytes = (value: number) => `${value.toFixed(0)} B`;
  for (const [workers, most] of [
    [2, 1],
    [4, 5],
    [4, 32],
    [8, 16],
    [16, 4],
  ] as const) {
    const system = await NatsSystem.start();
    const job = await TestJob.make(system, 1 << 28);
    const fleet = await Fleet.make(job, { rounds, probes: most, expected: workers, witnessEvery: 0 });
    const ends = await Promise.all(fleet.startAll(workers).map(({ ended }) => ended));
    const done = ends.filter((end): end is Done => end?.type === 'done');
    if (done.length < workers) throw new Error(JSON.stringify(ends));
    // Workers take on fewer probes while the machine is busy.
    const probes = (await fleet.verdict()).totals.probes / workers / rounds;
    const { state } = await checkStream(await job.connect(), job.names);
    const mean = (of: (end: Done) => number) =>
      done.reduce((sum, end) => sum + of(end), 0) / workers / rounds;
    console.log(
      `${workers} workers x ${probes.toFixed(1)} probes: an entry of the log ${said(state.bytes / state.messages, entryBytes(workers, probes), bytes)}; ` +
        `a worker and round: sent ${said(
          mean(({ socket }) => socket.sent),
          sentBytes(workers, probes),
          bytes,
        )}, received ${said(
          mean(({ socket }) => socket.received),
          receivedBytes(workers, probes),
          bytes,
        )}`,
    );
    await job.close();
    await system.end();
  }
}

interface Case {
  readonly what: string;
  readonly model: { uri: string; sha256: string };
  readonly weights: number;
  readonly plan: readonly object[];
  readonly task?: object;
  readonly batch?: number;
}

const basis = { calibration: { uri: 'rows.jsonl' } };
const PLANS = {
  head: [{ scope: { type: 'head' }, rounds: 60 }],
  subspace: [{ scope: { type: 'subspace', rank: 16, basis }, rounds: 20 }],
  lora: [{ scope: { type: 'lora', rank: 8 }, rounds: 20 }],
  full: [{ scope: { type: 'full' }, rounds: 20 }],
};

async function measureMemory(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-sizing-'));
  try {
    const rows = Array.from({ length: 256 }, (_, i) => ({
      text: `row ${i} of a text that says ${i % 2 === 0 ? 'good' : 'bad'} things about a film, and then some more of it`,
      label: i % 2 === 0 ? 'good' : 'bad',
    }));
    await writeFile(join(folder, 'rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    for (const one of await casesIn(folder)) {
      const peak = await peakOf(one, folder);
      const formula = workerBytes(one.weights);
      console.log(
        `${one.what}: weights ${mib(one.weights)}; a worker at its peak ${said(peak, formula, mib)}`,
      );
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A language model in a folder, in two rounds of few rows: its forwards take long. */
async function given(model: string): Promise<Case> {
  const file = join(model, 'model.safetensors');
  return {
    what: `${basename(model)}, lora`,
    model: { uri: model, sha256: await sha256File(file) },
    weights: (await stat(file)).size,
    plan: [{ scope: { type: 'lora', rank: 8 }, rounds: 2 }],
    task: { type: 'causal-lm', text: '{text}', maxTokens: 64 },
    batch: 4,
  };
}

async function casesIn(folder: string): Promise<Case[]> {
  if (values.model !== undefined) return [await given(resolve(values.model))];
  const tiny = join(folder, 'tiny');
  await writeTinyFolder(tiny);
  const minilm = {
    uri: 'hf://sentence-transformers/all-MiniLM-L6-v2',
    sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
  };
  const large = join(await resolveModel(minilm, { folder: root }), 'model.safetensors');
  const models = [
    {
      what: 'a model of a few weights',
      model: { uri: tiny, sha256: await sha256File(join(tiny, 'model.safetensors')) },
      weights: (await stat(join(tiny, 'model.safetensors'))).size,
    },
    { what: 'MiniLM-L6', model: minilm, weights: (await stat(large)).size },
  ];
  const cases = models.flatMap((one) =>
    (['head', 'subspace', 'lora', 'full'] as const).map((scope) => ({
      ...one,
      what: `${one.what}, ${scope}`,
      plan: PLANS[scope],
    })),
  );
  return cases;
}

/** Peak of resident memory in bytes, of the larger of two workers. */
async function peakOf(one: Case, folder: string): Promise<number> {
  const classification = {
    type: 'classification',
    text: '{text}',
    label: '{label}',
    labels: ['good', 'bad'],
    maxTokens: 64,
  };
  const job = {
    apiVersion: 'onebyte.dev/v1alpha1',
    kind: 'FineTuneJob',
    metadata: { name: 'sizing' },
    spec: {
      seed: 1,
      model: one.model,
      task: one.task ?? classification,
      data: { train: [{ name: 'rows', uri: 'rows.jsonl' }] },
      method: { plan: one.plan, estimator: { batch: one.batch ?? 16, probes: { min: 1, max: 4 } } },
      replicas: 2,
    },
  };
  const file = join(folder, 'job.yaml');
  await writeFile(file, stringify(job));
  const out = await mkdtemp(join(folder, 'run-'));
  const args = [join(root, 'cli', 'main.ts'), 'run', file, '--workers', '2', '--out', join(out, 'run')];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  let peak = 0;
  while (child.exitCode === null && child.signalCode === null) {
    peak = Math.max(peak, ...(await Promise.all((await childrenOf(child)).map(peakSoFar))));
    await sleep(50);
  }
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`${one.what}: onebyte run ended with ${code}`);
  return peak;
}

async function childrenOf({ pid }: ChildProcess): Promise<string[]> {
  const found: string[] = [];
  for (const thread of await readdir(`/proc/${pid}/task`).catch(() => [])) {
    const text = await readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '');
    found.push(...text.split(' ').filter(Boolean));
  }
  return found;
}

async function peakSoFar(pid: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return 1024 * Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
}

switch (positionals[0]) {
  case 'log':
    await measureLog();
    break;
  case 'memory':
    await measureMemory();
    break;
  default:
    console.error('say what: log or memory');
    process.exitCode = 2;
}
