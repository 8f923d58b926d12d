import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { llamaModel } from '../../worker/model/llama-model.ts';
import { mergeLowRank } from '../../worker/model/merge.ts';
import type { TensorView } from '../../worker/model/tensor.ts';
import { batchOf, distance, type GraphRun, openGraph, type Value } from './session.ts';
import { randomTensor } from './tiny.ts';
import { MEMBERS, memberConfig, memberWeights, ROWS } from './tiny-llama.ts';

/** What transformers says of the same models: see oracle/make.ts. */
const oracle: { tiny: Record<string, number[][]> } = JSON.parse(
  readFileSync(new URL('oracle/llama.json', import.meta.url), 'utf8'),
);

const open: GraphRun[] = [];
after(async () => {
  for (const session of open) await session.close();
});

function modelOf(name: string) {
  return llamaModel(memberConfig(name), memberWeights(name));
}

type Build = Parameters<ReturnType<typeof modelOf>['graph']>[0];

async function run(name: string, options: Build, feeds: Record<string, Value>) {
  const session = await openGraph(modelOf(name).graph(options));
  open.push(session);
  return session.run(feeds);
}

const batch = batchOf(ROWS);
const tokens = Math.max(...ROWS.map((row) => row.length));
const VOCABULARY = 40;
const BASE = { from: 'ids', end: 'tokens', pooling: 'mean' } as const;

/** Every row of every text, so that all logits come out. */
const everywhere = ints(ROWS.flatMap((row, i) => row.map((_, t) => i * tokens + t)));
/** Each token from the one before it. */
const next = {
  positions: ints(ROWS.flatMap((row, i) => row.slice(1).map((_, t) => i * tokens + t))),
  targets: ints(ROWS.flatMap((row) => row.slice(1))),
  shares: sharesOf(ROWS.map((row) => row.length - 1)),
};

function ints(values: readonly number[]): Value {
  return { dims: [values.length], data: Int32Array.from(values) };
}

function sharesOf(counts: readonly number[]): Value {
  const owners = counts.flatMap((count, i) => Array.from({ length: count }, () => i));
  const data = new Float32Array(owners.length * counts.length);
  for (const [k, owner] of owners.entries()) data[k * counts.length + owner] = 1;
  return { dims: [owners.length, counts.length], data };
}

/** Sum of the losses of a text's tokens, from logits [tokens, vocabulary]. */
function lossOf(logits: readonly number[], ids: readonly number[]): { loss: number; correct: number } {
  let [loss, correct] = [0, 0];
  for (let t = 0; t + 1 < ids.length; t++) {
    const row = logits.slice(t * VOCABULARY, (t + 1) * VOCABULARY);
    loss += Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[ids[t + 1]!]!;
    correct += Number(row.indexOf(Math.max(...row)) === ids[t + 1]);
  }
  return { loss, correct };
}

describe('the logits of transformers and ours', () => {
  for (const name of Object.keys(MEMBERS)) {
    test(`are equal for ${name}`, async () => {
      const options = { ...BASE, to: 'logits' } as const;
      const { logits } = await run(name, options, { ...batch, positions: everywhere });
      assert.ok(distance(logits!.data, oracle.tiny[name]!.flat()) < 2e-5);
    });
  }
});

test("each text's loss and hits are the sums over its tokens", async () => {
  const { loss, correct } = await run('llama', { ...BASE, to: 'loss' }, { ...batch, ...next });
  const expected = ROWS.map((ids, i) => lossOf(oracle.tiny.llama![i]!, ids));
  assert.ok(
    distance(
      loss!.data,
      expected.map((e) => e.loss),
    ) < 1e-4,
  );
  assert.deepEqual(
    [...correct!.data],
    expected.map((e) => e.correct),
  );
});

test('a graph cut at any layer, and a whole one, say the same', async () => {
  const whole = await run('qwen3', { ...BASE, to: 'loss' }, { ...batch, ...next });
  for (const layer of [0, 1, 2]) {
    const { hidden_out: hidden } = await run('qwen3', { ...BASE, to: { layer } }, batch);
    assert.deepEqual(hidden!.dims, [ROWS.length, tokens, 64]);
    const feeds = { ...batch, ...next, hidden: hidden! };
    const { loss } = await run('qwen3', { ...BASE, from: layer, to: 'loss' }, feeds);
    assert.ok(distance(loss!.data, whole.loss!.data) < 1e-5);
  }
});

test('words are scored as the same tokens after the last one of each text', async () => {
  const words = [7, 31, 2];
  const positions = ints(ROWS.map((row, i) => i * tokens + row.length - 1));
  const labels = ints([0, 2, 1]);
  const options = { ...BASE, end: 'words', words, labels: 3, to: 'logits' } as const;
  const { logits } = await run('tied', options, { ...batch, positions, labels });
  const expected = ROWS.flatMap((row, i) => {
    const last = oracle.tiny.tied![i]!.slice((row.length - 1) * VOCABULARY);
    return words.map((word) => last[word]!);
  });
  assert.deepEqual(logits!.dims, [3, 3]);
  assert.ok(distance(logits!.data, expected) < 2e-5);
  const { loss } = await run('tied', { ...options, to: 'loss' }, { ...batch, positions, labels });
  const own = [0, 2, 1].map((label, i) => {
    const scores = expected.slice(i * 3, i * 3 + 3);
    return Math.log(scores.reduce((sum, x) => sum + Math.exp(x), 0)) - scores[label]!;
  });
  assert.ok(distance(loss!.data, own) < 2e-5);
});

for (const type of ['lora', 'subspace'] as const) {
  test(`two probes of ${type} on every matrix equal two merged models`, async () => {
    const name = 'qwen2';
    const model = modelOf(name);
    const RANK = 3;
    const PROBES = 2;
    let seed = 900;
    const factors = new Map<string, { left: TensorView; right: TensorView }>();
    const feeds: Record<string, Value> = { ...batch, ...next };
    const bases = new Map<string, TensorView>();
    for (const { name: matrix, out, in: width } of model.matrices) {
      const left = randomTensor([PROBES, out, RANK], seed++, 0.2);
      const right = randomTensor(type === 'lora' ? [PROBES, RANK, width] : [RANK, width], seed++, 0.2);
      factors.set(matrix, { left, right });
      feeds[type === 'lora' ? `${matrix}.B` : `${matrix}.C`] = left;
      if (type === 'lora') feeds[`${matrix}.A`] = right;
      else bases.set(matrix, right);
    }
    const adapters =
      type === 'lora'
        ? ({ type, rank: RANK, alpha: 6, matrices: [...factors.keys()] } as const)
        : ({ type, rank: RANK, bases } as const);
    const { loss } = await run(name, { ...BASE, to: 'loss', adapters }, feeds);
    assert.deepEqual(loss!.dims, [PROBES, ROWS.length]);
    for (let p = 0; p < PROBES; p++) {
      const part = ({ dims, data }: TensorView): TensorView =>
        dims.length < 3
          ? { dims, data }
          : {
              dims: dims.slice(1),
              data: data.slice((p * data.length) / PROBES, ((p + 1) * data.length) / PROBES),
            };
      const merged = [...factors].map(([matrix, { left, right }]) => {
        const weight = model.weights.get(`${matrix}.weight`)!;
        const scale = type === 'lora' ? 6 / RANK : 1;
        return [`${matrix}.weight`, mergeLowRank(weight, part(left), part(right), scale)] as const;
      });
      const weights = model.withWeights(new Map(merged));
      const alone = await run(name, { ...BASE, to: 'loss', weights }, { ...batch, ...next });
      const own = loss!.data.slice(p * ROWS.length, (p + 1) * ROWS.length);
      assert.ok(distance(own, alone.loss!.data) < 2e-4);
    }
  });
}

test('weights that are inputs give what frozen ones give', async () => {
  const model = modelOf('qwen3');
  const inputs = new Set(model.weights.keys());
  const graph = model.graph({ ...BASE, to: 'loss', inputs });
  assert.deepEqual(
    graph.initializers.filter((name) => model.weights.has(name)),
    [],
  );
  const session = await openGraph(graph);
  open.push(session);
  const { loss } = await session.run({ ...batch, ...next, ...Object.fromEntries(model.weights) });
  const frozen = await run('qwen3', { ...BASE, to: 'loss' }, { ...batch, ...next });
  assert.ok(distance(loss!.data, frozen.loss!.data) < 1e-5);
});
