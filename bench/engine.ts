/**
 * What probes cost beside plain forward passes, on the real MiniLM. Arms take turns, and a ratio is the median over
 * the turns, so that other work on the machine falls on all alike.
 *
 *     node bench/engine.ts [--threads 2] [--tokens 32] [--repeat 12] [--only full|batched|head|memory]
 *
 * - full: a two-sided step (perturb, forward, perturb, forward, restore, apply) against two plain forwards of the same
 *   graph and batch. Bar: at most 1.15.
 * - batched: examples a second of whole rounds (seeds, directions, adapters, forwards, apply) against plain inference
 *   with packed weights at its best batch. Bar: at least 0.85.
 * - head: milliseconds of a round of 64 probes over 256 rows.
 * - memory: peak resident memory of full against plain inference, each in a process of its own. Bar: at most 1.25.
 */
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { jobOf, scope, stage } from '../test/engine/fixture.ts';
import { minilm } from '../test/model/minilm.ts';
import { directionSeed } from '../worker/direction/seed.ts';
import type { Evaluator } from '../worker/engine/evaluator.ts';
import { createEvaluator, scratchBytes } from '../worker/engine/evaluators/create.ts';
import { type Feed, Session } from '../worker/engine/evaluators/session.ts';
import { openReplica } from '../worker/engine/open.ts';
import type { EnginePlan } from '../worker/engine/plan.ts';
import type { State } from '../worker/grid/state.ts';
import type { EstimatorSpec, ScopeSpec } from '../worker/journal/job.ts';
import { openModelFolder } from '../worker/model/folder.ts';
import { type Examples, NO_EXAMPLES } from '../worker/task/examples.ts';

const { values: args } = parseArgs({
  options: {
    threads: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '32' },
    repeat: { type: 'string', default: '12' },
    only: { type: 'string' },
    batch: { type: 'string', default: '16,32,64' },
    rows: { type: 'string', default: '16' },
    examples: { type: 'string', default: '64' },
    child: { type: 'string' },
  },
});
const threads = Number(args.threads);
const tokens = Number(args.tokens);
const repeat = Number(args.repeat);
const chunking = { rows: Number(args.rows), examples: Number(args.examples) };
const LABELS = ['no', 'yes'];

/** Rows of exactly `tokens` tokens: nothing is gained or lost by padding. */
function examplesOf(count: number): Examples {
  const ids = Array.from({ length: count }, (_, row) =>
    Int32Array.from({ length: tokens }, (_, i) => 1000 + ((row * 7919 + i * 104729) % 20000)),
  );
  return { ids, labels: Int32Array.from(ids, (_, row) => row % 2), truncated: 0 };
}

interface Opened {
  readonly plan: EnginePlan;
  readonly state: State;
  readonly evaluator: Evaluator;
  close(): Promise<void>;
}

async function open(spec: ScopeSpec, estimator: Partial<EstimatorSpec>, rows: number): Promise<Opened> {
  const folder = await openModelFolder(await minilm());
  const job = jobOf([stage(spec, estimator)], LABELS);
  const { plan, state } = openReplica(folder.model, job, null, (made) => ({
    scratchBytes: scratchBytes(made),
    threads,
  }));
  const examples = { train: examplesOf(rows), validation: NO_EXAMPLES, test: NO_EXAMPLES };
  const options = {
    job,
    folder,
    state,
    plan,
    basis: null,
    examples,
    threads,
    memoryBudgetBytes: 2 ** 30,
    chunking,
  };
  const evaluator = await createEvaluator(options);
  await evaluator.enter(0, 0);
  const close = async () => {
    await evaluator.close();
    await state.close();
  };
  return { plan, state, evaluator, close };
}

/** A round as a worker does it: seeds, probes, and the update of its own probes. */
async function round({ plan, state, evaluator }: Opened, number: number, probes: number, rows: Int32Array) {
  const seeds = new Uint32Array(probes * 4);
  for (let probe = 0; probe < probes; probe++) {
    const name = { jobSeed: 1, roundChain: new Uint8Array(32), round: number, slot: 0, probe };
    seeds.set(directionSeed(name), probe * 4);
  }
  const result = await evaluator.probe(seeds, rows);
  const tensors = plan.stages[0]!.perturbed;
  const coefficients = new Int32Array(probes * tensors.length).map((_, i) => (i % 7) - 3);
  state.add({ count: probes, seeds, tensors, coefficients });
  return result.examples;
}

interface Time {
  /** Seconds on the clock, and of all cores' work: the second hardly moves when others use the machine too. */
  readonly wall: number;
  readonly cpu: number;
}

async function measure(work: () => Promise<unknown>): Promise<Time> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const wall = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { wall, cpu: (user + system) / 1e6 };
}

/** Medians of quotients, on the clock and in cores' work. */
function quotient(above: readonly Time[], below: readonly Time[]): string {
  const of = (key: keyof Time) => median(above.map((time, i) => time[key] / below[i]![key])).toFixed(3);
  return `ratio ${of('wall')} (${of('cpu')} by processor time)`;
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
}

function batchFeeds(count: number): Record<string, Feed> {
  const { ids, labels } = examplesOf(count);
  const all = new Int32Array(count * tokens);
  for (const [row, values] of ids.entries()) all.set(values, row * tokens);
  const dims = [count, tokens];
  return {
    input_ids: { data: all, dims },
    attention_mask: { data: new Int32Array(count * tokens).fill(1), dims },
    labels: { data: labels, dims: [count] },
  };
}

async function packedSession(): Promise<Session> {
  const { model } = await openModelFolder(await minilm());
  const dims = [LABELS.length, model.hidden];
  const head = {
    weight: { dims, data: new Float32Array(LABELS.length * model.hidden) },
    bias: { dims: [LABELS.length], data: new Float32Array(LABELS.length) },
  };
  const graph = model.graph({ from: 'ids', to: 'loss', pooling: 'mean', labels: LABELS.length, head });
  return Session.open(graph, { threads });
}

/** Plain forwards of the graph that `full` runs, over the same memory. */
async function plainFull(
  { plan, state }: Opened,
  count: number,
  forwards: number,
): Promise<() => Promise<void>> {
  const { model } = await openModelFolder(await minilm());
  const names = plan.stages[0]!.weights.map((i) => plan.tensors[i]!.name);
  const options = { from: 'ids', to: 'loss', pooling: 'mean', labels: LABELS.length } as const;
  const session = await Session.open(model.graph({ ...options, inputs: new Set(names) }), { threads });
  const weights = plan.stages[0]!.perturbed.map((i) => {
    const { name, shape } = plan.tensors[i]!;
    return [name, { data: state.view(i), dims: i < 2 ? [1, ...shape] : shape }] as const;
  });
  const feeds = { ...batchFeeds(count), ...Object.fromEntries(weights) };
  return async () => {
    for (let i = 0; i < forwards; i++) await session.run(feeds);
  };
}

async function benchFull(): Promise<void> {
  for (const [title, layers] of [
    ['all 22 M weights', 'all'],
    ['layers 0-5, 10.7 M weights', '0-5'],
  ] as const) {
    for (const [count, probes] of args.batch.split(',').flatMap(
      (n) =>
        [
          [Number(n), 1],
          [Number(n), 4],
        ] as const,
    )) {
      const opened = await open(scope('full', { layers }), { sides: 2, batch: count }, count);
      const plain = await plainFull(opened, count, 2 * probes);
      const rows = Int32Array.from({ length: count }, (_, i) => i);
      const steps: Time[] = [];
      const forwards: Time[] = [];
      for (let i = -2; i < repeat; i++) {
        const step = () => round(opened, i + 2, probes, rows);
        const times =
          i % 2 === 0
            ? [await measure(step), await measure(plain)]
            : [await measure(plain), await measure(step)].reverse();
        if (i < 0) continue;
        steps.push(times[0]!);
        forwards.push(times[1]!);
      }
      const ms = (times: readonly Time[]) => (1000 * median(times.map(({ wall }) => wall))).toFixed(0);
      console.log(
        `full, ${title}, batch ${count}, ${probes} probes a step: ${ms(steps)} ms, plain forwards ${ms(forwards)} ms, ${quotient(steps, forwards)}`,
      );
      await opened.close();
    }
  }
}

function each({ wall, cpu }: Time, examples: number): Time {
  return { wall: wall / examples, cpu: cpu / examples };
}

async function benchBatched(): Promise<void> {
  const packed = await packedSession();
  const batches = [8, 16, 32, 64, 128].map((count) => ({ count, feeds: batchFeeds(count) }));
  const arms = [];
  for (const type of ['subspace', 'lora'] as const) {
    for (const [probes, batch, sides] of [
      [8, 16, 2],
      [16, 16, 1],
      [4, 64, 2],
    ] as const) {
      const opened = await open(scope(type, { rank: 8 }), { sides, batch }, batch);
      arms.push({
        title: `${type} rank 8, ${probes} probes x ${batch} rows, sides ${sides}`,
        opened,
        probes,
        batch,
        times: [] as Time[],
      });
    }
  }
  /** Times per example. */
  const plain = batches.map(() => [] as Time[]);
  for (let i = -1; i < repeat; i++) {
    for (const [k, { count, feeds }] of batches.entries()) {
      const calls = Math.max(1, Math.round(128 / count));
      const time = await measure(async () => {
        for (let call = 0; call < calls; call++) await packed.run(feeds);
      });
      if (i >= 0) plain[k]!.push(each(time, calls * count));
    }
    for (const { opened, probes, batch, times } of arms) {
      const rows = Int32Array.from({ length: batch }, (_, r) => r);
      let examples = 0;
      const time = await measure(async () => {
        examples = await round(opened, i + 1, probes, rows);
      });
      if (i >= 0) times.push(each(time, examples));
    }
  }
  const wall = (times: readonly Time[]) => median(times.map((time) => time.wall));
  const best = plain.reduce((a, b) => (wall(b) < wall(a) ? b : a));
  for (const [k, times] of plain.entries()) {
    console.log(`packed inference, batch ${batches[k]!.count}: ${(1 / wall(times)).toFixed(0)} examples/s`);
  }
  for (const { title, times } of arms) {
    console.log(`${title}: ${(1 / wall(times)).toFixed(0)} examples/s, ${quotient(best, times)}`);
  }
  for (const { opened } of arms) await opened.close();
  await packed.close();
}

async function benchHead(): Promise<void> {
  const opened = await open(scope('head'), { sides: 2 }, 256);
  const rows = Int32Array.from({ length: 256 }, (_, i) => i);
  await round(opened, 0, 64, rows);
  const times: number[] = [];
  for (let i = 1; i <= 4 * repeat; i++) times.push((await measure(() => round(opened, i, 64, rows))).wall);
  console.log(`head, 64 two-sided probes x 256 rows: ${(1000 * median(times)).toFixed(2)} ms a round`);
  await opened.close();
}

/** One process of the memory comparison: prints its peak resident memory in MiB. */
async function child(kind: string): Promise<void> {
  const count = 16;
  if (kind === 'plain') {
    const session = await packedSession();
    for (let i = 0; i < 6; i++) await session.run(batchFeeds(count));
  } else {
    const opened = await open(scope('full'), { sides: 2 }, count);
    const rows = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = 0; i < 3; i++) await round(opened, i, 1, rows);
  }
  console.log(process.resourceUsage().maxRSS / 1024);
}

function benchMemory(): void {
  const peak = (kind: string) => {
    const run = () =>
      Number(
        execFileSync(process.execPath, [import.meta.filename, '--child', kind, '--threads', String(threads)]),
      );
    return median([run(), run(), run()]);
  };
  const [plain, full] = [peak('plain'), peak('full')];
  console.log(
    `memory: plain inference ${plain.toFixed(0)} MiB, full ${full.toFixed(0)} MiB, ratio ${(full / plain).toFixed(3)}`,
  );
}

if (args.child !== undefined) await child(args.child);
else {
  const wanted = (name: string) => args.only === undefined || args.only === name;
  if (wanted('head')) await benchHead();
  if (wanted('memory')) benchMemory();
  if (wanted('full')) await benchFull();
  if (wanted('batched')) await benchBatched();
}
process.exit(0);
