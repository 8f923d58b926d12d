import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Abandoned } from '../../worker/engine/evaluator.ts';
import { jobOf, open, scope, seedsOf, stage } from './fixture.ts';

const rows = Int32Array.from({ length: 30 }, (_, i) => i);

/** Abandons at the n-th time of asking. */
function after(n: number): () => boolean {
  let asked = 0;
  return () => ++asked > n;
}

for (const type of ['head', 'subspace', 'lora', 'full'] as const)
  test(`work that is abandoned at any point leaves the state of ${type} as it was, and the next is right`, async (t) => {
    const job = jobOf([stage(scope(type, { layers: '2' }), { radius: 2 ** -6 })]);
    const { state, evaluator } = await open(job, { chunking: { rows: 4, examples: 8 } });
    t.after(() => evaluator.close());
    await evaluator.enter(0, 0);
    const digest = state.digest();
    const whole = await evaluator.probe(seedsOf(5), rows);
    const sums = await evaluator.evaluate('validation', rows.slice(0, 11));
    let asked = 0;
    await evaluator.probe(seedsOf(5), rows, () => {
      asked++;
      return false;
    });
    assert.ok(asked > 1);
    for (const n of new Set([0, 1, Math.floor(asked / 2), asked - 1])) {
      await assert.rejects(evaluator.probe(seedsOf(5), rows, after(n)), Abandoned);
      assert.equal(state.perturbation, null);
      assert.equal(state.digest(), digest);
    }
    await assert.rejects(evaluator.evaluate('validation', rows.slice(0, 11), after(0)), Abandoned);
    assert.deepEqual((await evaluator.probe(seedsOf(5), rows, after(asked))).values, whole.values);
    assert.deepEqual(await evaluator.evaluate('validation', rows.slice(0, 11)), sums);
  });
