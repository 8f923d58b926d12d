import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelFolder } from '../../worker/model/folder.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import type { Examples } from '../../worker/task/examples.ts';
import { minilm, missingMinilm } from '../model/minilm.ts';
import { jobOf, moveTo, open, randomExamples, scope, seedsOf, stage } from './fixture.ts';

const skip = await missingMinilm();
const folder: ModelFolder | undefined = skip === false ? await openModelFolder(await minilm()) : undefined;
const rows = Int32Array.from({ length: 6 }, (_, i) => i);

/** Random words of MiniLM's vocabulary. */
function examplesOf(count: number): Examples {
  const { ids, ...rest } = randomExamples(count, 3, 2);
  const wide = (id: number, i: number, all: Int32Array) =>
    i === 0 ? 101 : i === all.length - 1 ? 102 : 2000 + id * 331;
  return { ...rest, ids: ids.map((row) => row.map(wide)) };
}

const RADIUS = 2 ** -7;
for (const [name, spec] of [
  ['head', scope('head')],
  ['subspace', scope('subspace', { layers: '4-5', rank: 4 })],
  ['lora', scope('lora', { layers: '4-5', rank: 4 })],
  ['full', scope('full', { layers: '4-5' })],
] as const) {
  test(`on MiniLM, ${name}: values are the differences of plainly evaluated losses`, { skip }, async () => {
    const job = jobOf([stage(spec, { radius: RADIUS })], ['no', 'yes']);
    const opened = await open(job, {
      folder: folder!,
      examples: { train: examplesOf(6), validation: examplesOf(2), test: examplesOf(1) },
    });
    const { evaluator, state } = opened;
    await evaluator.enter(0, 0);
    const before = state.digest();
    const seeds = seedsOf(2);
    const { values } = await evaluator.probe(seeds, rows);
    assert.equal(state.digest(), before);
    for (let p = 0; p < 2; p++) {
      const seed = seeds.slice(4 * p, 4 * p + 4);
      const sums = [];
      for (const [there, back] of [
        [1, -1],
        [-1, 1],
      ] as const) {
        moveTo(opened, 0, seed, there);
        sums.push((await evaluator.evaluate('train', rows)).lossSum);
        moveTo(opened, 0, seed, back);
      }
      const expected = (sums[0]! - sums[1]!) / 6 / (2 * RADIUS);
      assert.ok(
        Math.abs(values[p]! - expected) < 2e-3 + 1e-3 * Math.abs(expected),
        `${values[p]} against ${expected}`,
      );
    }
    await evaluator.close();
    await state.close();
  });
}
