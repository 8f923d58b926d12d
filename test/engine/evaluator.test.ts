import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ScopeSpec } from '../../worker/journal/job.ts';
import {
  jobOf,
  moveTo,
  type Opened,
  open,
  randomExamples,
  scope,
  seedsOf,
  stage,
  tinyFolder,
} from './fixture.ts';

const rowsOf = (count: number) => Int32Array.from({ length: count }, (_, i) => (i * 7) % 30);
const near = (a: number, b: number, tolerance: number, what = '') =>
  assert.ok(Math.abs(a - b) <= tolerance, `${what} ${a} against ${b}`);

const SCOPES: readonly (readonly [string, ScopeSpec])[] = [
  ['head', scope('head')],
  ['subspace over all layers', scope('subspace')],
  ['subspace over the last layer', scope('subspace', { layers: '2' })],
  [
    'subspace of some matrices under a frozen head',
    scope('subspace', { layers: '1-2', head: false, matrices: ['value', 'down'] }),
  ],
  ['lora', scope('lora', { layers: '1-2' })],
  ['full over all layers', scope('full')],
  ['full over the last two layers', scope('full', { layers: '1-2' })],
];

/** Loss sums at theta + sign r z of each probe, by plain evaluation of a state that was moved there. */
async function plainSums(
  opened: Opened,
  seeds: Uint32Array,
  rows: Int32Array,
  sign: -1 | 0 | 1,
): Promise<number[]> {
  const sums: number[] = [];
  for (let p = 0; p < seeds.length / 4; p++) {
    const seed = seeds.slice(4 * p, 4 * p + 4);
    moveTo(opened, 0, seed, sign);
    sums.push((await opened.evaluator.evaluate('train', rows)).lossSum);
    moveTo(opened, 0, seed, -sign as -1 | 0 | 1);
  }
  return sums;
}

for (const [name, spec] of SCOPES) {
  for (const sides of [1, 2] as const) {
    test(`${name}: ${sides === 2 ? 'two-sided' : 'one-sided'} values are the differences of plainly evaluated losses`, async () => {
      const radius = 2 ** -6;
      // A second stage trains the head, so that it has room on its grid where the first one leaves it alone.
      const opened = await open(jobOf([stage(spec, { sides, radius }), stage(scope('head'), { radius })]));
      await opened.evaluator.enter(0, 0);
      const before = opened.state.digest();
      const seeds = seedsOf(5);
      const rows = rowsOf(21);
      const found = await opened.evaluator.probe(seeds, rows);
      assert.equal(opened.state.digest(), before);
      const plus = await plainSums(opened, seeds, rows, 1);
      const other = await plainSums(opened, seeds, rows, sides === 2 ? -1 : 0);
      assert.equal(opened.state.digest(), before);
      for (let p = 0; p < 5; p++) {
        const expected = (plus[p]! - other[p]!) / rows.length / (sides * radius);
        near(found.values[p]!, expected, 2e-3 + 1e-3 * Math.abs(expected), `probe ${p}:`);
        assert.ok(Math.abs(expected) > 1e-3, 'the direction matters');
      }
      const centre = await opened.evaluator.evaluate('train', rows);
      const mean = sides === 1 ? centre.lossSum : plus.concat(other).reduce((a, b) => a + b) / 10;
      near(found.lossSum, mean, 1e-3);
      assert.equal(found.lossCount, 21);
      assert.equal(found.forwards, sides === 2 ? 10 : 6);
      assert.equal(found.examples, found.forwards * 21);
      assert.ok(found.directionSeconds > 0 && found.directionSeconds < found.seconds);
      await opened.evaluator.close();
    });
  }
}

for (const [name, spec] of SCOPES) {
  test(`${name}: probes together, in whatever chunks, equal probes one by one`, async () => {
    const job = jobOf([stage(spec, { radius: 2 ** -6 })]);
    const seeds = seedsOf(7, 3);
    const rows = rowsOf(19);
    const values: Float64Array[] = [];
    for (const chunking of [
      { rows: 30, examples: 400 },
      { rows: 4, examples: 12 },
      { rows: 1, examples: 1 },
    ]) {
      const { evaluator } = await open(job, { chunking });
      await evaluator.enter(0, 0);
      values.push((await evaluator.probe(seeds, rows)).values);
      if (chunking.rows === 4) {
        const single = [];
        for (let p = 0; p < 7; p++)
          single.push((await evaluator.probe(seeds.slice(4 * p, 4 * p + 4), rows)).values[0]!);
        values.push(Float64Array.from(single));
      }
      await evaluator.close();
    }
    for (const other of values.slice(1)) for (const [p, v] of other.entries()) near(v, values[0]![p]!, 2e-3);
  });
}

test('a cached prefix, a partly cached one and none give the same values', async () => {
  for (const spec of [scope('subspace', { layers: '2' }), scope('full', { layers: '1-2' }), scope('head')]) {
    const job = jobOf([stage(spec, { radius: 2 ** -6 })]);
    const seeds = seedsOf(3);
    const rows = rowsOf(30);
    const results = [];
    for (const memoryBudgetBytes of [1 << 24, 8 * 32 * 4 * 3, 0]) {
      const { evaluator } = await open(job, { memoryBudgetBytes });
      await evaluator.enter(0, 0);
      const first = await evaluator.probe(seeds, rows);
      const second = await evaluator.probe(seeds, rows);
      for (const [p, v] of second.values.entries()) near(v, first.values[p]!, 2e-3);
      results.push(second);
      await evaluator.close();
    }
    for (const other of results.slice(1)) {
      near(other.lossSum, results[0]!.lossSum, 1e-4);
      for (const [p, v] of other.values.entries()) near(v, results[0]!.values[p]!, 2e-3);
    }
  }
});

test('the head on cached features is the head at the end of the whole model', async () => {
  // The same state and rows, once with the whole encoder frozen, once with all of it in the graph.
  const head = await open(jobOf([stage(scope('head'))]));
  const whole = await open(jobOf([stage(scope('subspace', { head: true }))]), { scatter: true });
  for (const index of [0, 1]) whole.state.set(index, head.state.view(index).slice());
  for (let i = 0; i < whole.plan.tensors.length; i++) {
    if (whole.plan.tensors[i]!.name.endsWith('.C'))
      whole.state.set(i, new Float32Array(whole.state.view(i).length));
  }
  await head.evaluator.enter(0, 0);
  await whole.evaluator.enter(0, 0);
  for (const split of ['train', 'validation'] as const) {
    const rows = rowsOf(11).map((row) => row % 11);
    const a = await head.evaluator.evaluate(split, rows);
    const b = await whole.evaluator.evaluate(split, rows);
    near(a.lossSum, b.lossSum, 1e-3);
    assert.equal(a.correct, b.correct);
    assert.equal(a.count, 11);
  }
  await head.evaluator.close();
  await whole.evaluator.close();
});

test('the frozen part is computed once for each row: ahead, as far as time allows, or by the probe that draws it', async () => {
  const rows = rowsOf(11);
  const again = async (warm?: number) => {
    const { evaluator } = await open(jobOf([stage(scope('head'))]));
    await evaluator.enter(0, 0);
    if (warm !== undefined) await evaluator.warm(rows, warm);
    const probes = [await evaluator.probe(seedsOf(2), rows), await evaluator.probe(seedsOf(2), rows)];
    await evaluator.close();
    return probes;
  };
  const [asDrawn, once] = await again();
  assert.ok(asDrawn!.frozenSeconds > 0 && asDrawn!.frozenSeconds < asDrawn!.seconds);
  assert.equal(once!.frozenSeconds, 0);
  const [inNoTime] = await again(0);
  assert.ok(inNoTime!.frozenSeconds > 0);
  const [ahead] = await again(Number.POSITIVE_INFINITY);
  assert.equal(ahead!.frozenSeconds, 0);
  for (const { values } of [once!, inNoTime!, ahead!])
    for (const [p, value] of values.entries()) near(value, asDrawn!.values[p]!, 2e-3);
});

test('a loss that is no number abstains, and the state is as before', async () => {
  for (const [name, spec] of SCOPES) {
    if (name === 'full over all layers') continue; // There every weight is in the state, which holds no NaN.
    const folder = tinyFolder();
    folder.model.weights.get('embeddings.LayerNorm.bias')!.data.fill(Number.NaN);
    const { evaluator, state } = await open(jobOf([stage(spec)]), { folder });
    await evaluator.enter(0, 0);
    const before = state.digest();
    const { values } = await evaluator.probe(seedsOf(3), rowsOf(5));
    assert.deepEqual([...values], [Number.NaN, Number.NaN, Number.NaN]);
    assert.equal(state.digest(), before);
    await evaluator.close();
  }
});

test('without rows every probe abstains and nothing is counted', async () => {
  const { evaluator } = await open(jobOf([stage(scope('head'))]));
  await evaluator.enter(0, 0);
  const result = await evaluator.probe(seedsOf(2), new Int32Array(0));
  assert.deepEqual([...result.values], [Number.NaN, Number.NaN]);
  assert.deepEqual([result.lossCount, result.forwards, result.examples], [0, 0, 0]);
  assert.deepEqual(await evaluator.evaluate('test', new Int32Array(0)), {
    split: 'test',
    count: 0,
    lossSum: 0,
    correct: 0,
  });
  assert.deepEqual(evaluator.rows, { train: 30, validation: 11, test: 0 });
  await evaluator.close();
});

test('a session that throws in the middle of a round leaves the state as it was', async () => {
  for (const [, spec] of SCOPES) {
    const broken = {
      ids: [Int32Array.of(2, 5, 3), Int32Array.of(2, 99, 3)],
      labels: Int32Array.of(0, 1),
      truncated: 0,
    };
    const opened = await open(jobOf([stage(spec)]), {
      examples: { train: broken, validation: randomExamples(3, 1), test: broken },
      chunking: { rows: 1, examples: 1 },
    });
    await opened.evaluator.enter(0, 0);
    const before = opened.state.digest();
    // Token 99 is beyond the tiny vocabulary: the runtime refuses the second row's chunk.
    await assert.rejects(opened.evaluator.probe(seedsOf(2), Int32Array.of(0, 1)), { code: 'ENGINE_FAILED' });
    assert.equal(opened.state.digest(), before);
    const after = await opened.evaluator.probe(seedsOf(2), Int32Array.of(0));
    assert.ok(after.values.every(Number.isFinite));
    await opened.evaluator.close();
  }
});

test('row by row the best label is the one that counts as right or wrong, in any chunks, and the sums are theirs', async () => {
  for (const spec of [scope('head'), scope('lora', { layers: '1-2' }), scope('full')]) {
    const opened = await open(jobOf([stage(spec)]), { chunking: { rows: 4, examples: 8 } });
    await opened.evaluator.enter(0, 0);
    const rows = rowsOf(21);
    const { labels } = randomExamples(30, 1);
    const found = await opened.evaluator.outcomes('train', rows);
    assert.deepEqual([...found.rows].sort(), [...rows].sort());
    assert.ok(new Set(found.best).size > 1, 'the rows differ in it');
    for (const [i, row] of found.rows.entries()) {
      assert.equal(found.correct[i], Number(found.best![i] === labels[row]));
      const alone = await opened.evaluator.evaluate('train', Int32Array.of(row));
      near(found.loss[i]!, alone.lossSum, 1e-5);
      assert.equal(found.correct[i], alone.correct);
    }
    const sums = await opened.evaluator.evaluate('train', rows);
    near(
      sums.lossSum,
      found.loss.reduce((a, b) => a + b, 0),
      1e-9,
    );
    await opened.evaluator.close();
  }
});
