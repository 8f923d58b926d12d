/**
 * Language models: what probes cost on the real SmolLM2, and what the examples reach.
 *
 *     node bench/llama.ts speed [--repeat 7] [--tokens 32] [--rows 16] [--rank 8]
 *     node bench/llama.ts examples [--seeds 5] [--job examples/prompted-sentiment/job.yaml] [--set path=value ...]
 *
 * - speed: tokens a second of a round of batched `lora` probes on every matrix of every layer (seeds, directions,
 *   adapters, forwards) against plain inference of the same graph without adapters on as many tokens in each call. Arms
 *   take turns; the ratio is the median of the quotients, on the clock and by processor time (which others' load
 *   hardly moves). Bar: at least 0.85.
 * - examples: loss and accuracy on the test rows before and after a job, per seed, with mean and spread.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { sourcesFor, toJobSpec } from '../crds/job-spec.ts';
import { parseJobFile } from '../crds/validate.ts';
import { jobOf, scope, seedsOf, stage } from '../test/engine/fixture.ts';
import { smollm2 } from '../test/model/smollm2.ts';
import { createEvaluator, scratchBytes } from '../worker/engine/evaluators/create.ts';
import { type Feed, Session } from '../worker/engine/evaluators/session.ts';
import { openReplica } from '../worker/engine/open.ts';
import type { JobSpec } from '../worker/journal/job.ts';
import { openModelFolder } from '../worker/model/folder.ts';
import { padBatch } from '../worker/task/batch.ts';
import { type Examples, NO_EXAMPLES } from '../worker/task/examples.ts';
import { runSolo } from './lib/solo.ts';

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repeat: { type: 'string', default: '7' },
    tokens: { type: 'string', default: '32' },
    rows: { type: 'string', default: '16' },
    rank: { type: 'string', default: '8' },
    threads: { type: 'string', default: '2' },
    seeds: { type: 'string', default: '5' },
    job: { type: 'string', default: 'examples/prompted-sentiment/job.yaml' },
    set: { type: 'string', multiple: true, default: [] },
  },
});
const threads = Number(args.threads);

const median = (numbers: readonly number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;

interface Time {
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

/** Rows of exactly `tokens` tokens, all but the first to be predicted. */
function examplesOf(count: number, tokens: number): Examples {
  const ids = Array.from({ length: count }, (_, row) =>
    Int32Array.from({ length: tokens }, (_, i) => 1000 + ((row * 7919 + i * 104729) % 20000)),
  );
  const at = Int32Array.from({ length: tokens - 1 }, (_, i) => i);
  const predictions = ids.map((row) => ({ at, tokens: row.slice(1) }));
  return { ids, labels: new Int32Array(count), predictions, truncated: 0 };
}

async function speed(): Promise<void> {
  const [repeat, tokens, rows, rank] = [args.repeat, args.tokens, args.rows, args.rank].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  const folder = await openModelFolder(await smollm2());
  const { model } = folder;
  const estimator = { batch: rows, sides: 2 } as const;
  const job: JobSpec = {
    ...jobOf([
      stage(
        scope('lora', { rank, matrices: ['query', 'key', 'value', 'output', 'gate', 'up', 'down'] }),
        estimator,
      ),
    ]),
    task: { type: 'causal-lm', text: '{text}', maxTokens: tokens, pooling: 'mean' },
  };
  const { plan, state } = openReplica(model, job, null, (made) => ({
    scratchBytes: scratchBytes(made),
    threads,
  }));
  const examples = { train: examplesOf(rows, tokens), validation: NO_EXAMPLES, test: NO_EXAMPLES };
  const common = { job, folder, state, plan, basis: null, examples, threads, memoryBudgetBytes: 2 ** 30 };
  const evaluator = await createEvaluator(common);
  await evaluator.enter(0, 0);
  const all = Int32Array.from({ length: rows }, (_, i) => i);

  // As many tokens as the probes' calls have (`DECODER_CHUNKING`).
  const calls = Math.max(1, Math.round(1024 / tokens));
  const wide = examplesOf(calls, tokens);
  const { ids, mask, positions, targets, shares } = padBatch(
    wide,
    Int32Array.from(wide.ids, (_, i) => i),
    0,
  );
  const feeds: Record<string, Feed> = {
    input_ids: { data: ids, dims: [calls, tokens] },
    attention_mask: { data: mask, dims: [calls, tokens] },
    positions: { data: positions, dims: [positions.length] },
    targets: { data: targets, dims: [targets.length] },
    shares: { data: shares, dims: [targets.length, calls] },
  };
  const plain = await Session.open(model.graph({ from: 'ids', to: 'loss', end: 'tokens', pooling: 'mean' }), {
    threads,
  });
  const PROBES = 2;
  const probed: Time[] = [];
  const inferred: Time[] = [];
  const work = [
    {
      times: probed,
      tokens: 2 * PROBES * rows * tokens,
      run: () => evaluator.probe(seedsOf(PROBES, probed.length), all),
    },
    { times: inferred, tokens: calls * tokens, run: () => plain.run(feeds) },
  ];
  for (let i = -1; i < repeat; i++) {
    for (const arm of i % 2 === 0 ? work : work.toReversed()) {
      const { wall, cpu } = await measure(arm.run);
      if (i >= 0) arm.times.push({ wall: arm.tokens / wall, cpu: arm.tokens / cpu });
    }
  }
  const of = (times: readonly Time[], key: keyof Time) => median(times.map((time) => time[key]));
  const ratio = (key: keyof Time) =>
    median(probed.map((time, i) => time[key] / inferred[i]![key])).toFixed(3);
  const sizes = plan.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  console.log(
    `SmolLM2-135M, lora rank ${rank} on all ${model.matrices.length} matrices (${sizes} numbers), ${rows} rows of ${tokens} tokens`,
  );
  console.log(
    `tokens per processor second: probes ${of(probed, 'cpu').toFixed(0)}, plain ${of(inferred, 'cpu').toFixed(0)}`,
  );
  console.log(`ratio ${ratio('wall')} on the clock, ${ratio('cpu')} by processor time`);
  await plain.close();
  await evaluator.close();
  await state.close();
}

async function examples(): Promise<void> {
  const seeds = Array.from({ length: Number(args.seeds) }, (_, i) => i + 1);
  const change: number[] = [];
  const gain: number[] = [];
  for (const seed of seeds) {
    const { job, mistakes } = parseJobFile(readFileSync(args.job, 'utf8'), [...args.set, `seed=${seed}`]);
    if (job === undefined)
      throw new Error(mistakes.map(({ path, message }) => `${path}: ${message}`).join('\n'));
    const data = sourcesFor(job.spec, '');
    let [seconds, forwards] = [0, 0];
    const end = await runSolo(
      toJobSpec(job),
      data,
      dirname(args.job),
      (round) => {
        seconds += round.seconds;
        forwards += round.exampleForwards;
      },
      ['test'],
    );
    const [before, after] = [end.before.test!, end.after.test!];
    change.push(after.loss / before.loss - 1);
    gain.push(after.accuracy - before.accuracy);
    const row = [
      `seed ${seed}`,
      `test loss ${before.loss.toFixed(4)} -> ${after.loss.toFixed(4)} (${(100 * change.at(-1)!).toFixed(1)} %)`,
      `accuracy ${before.accuracy.toFixed(3)} -> ${after.accuracy.toFixed(3)}`,
      `${forwards} example-forwards, ${seconds.toFixed(0)} processor seconds`,
    ];
    console.log(row.join('  '));
  }
  console.log(`loss: ${spread(change.map((x) => 100 * x))} %   accuracy: ${spread(gain)}`);
}

function spread(values: readonly number[]): string {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return `mean ${mean.toFixed(3)}, standard deviation ${Math.sqrt(variance).toFixed(3)}`;
}

if (positionals[0] === 'speed') await speed();
else if (positionals[0] === 'examples') await examples();
else throw new Error('speed or examples?');
