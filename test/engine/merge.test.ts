import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stageTensors } from '../../worker/engine/stages.ts';
import { mergeProduct } from '../../worker/grid/doubles.ts';
import type { State } from '../../worker/grid/state.ts';
import type { StageTensors } from '../../worker/replica/stage.ts';
import { jobOf, open, scope, seedsOf, stage } from './fixture.ts';

const rows = Int32Array.from({ length: 30 }, (_, i) => i);

/** Merges a stage's factors as a replica does. */
function merge(state: State, { merges }: StageTensors, epoch: number): void {
  for (const { weight, left, right, rank, inputs, factor } of merges) {
    const v =
      typeof right === 'function'
        ? right(epoch)
        : {
            values: Float64Array.from(state.view(right), (x) => x * 2 ** -state.exponent(right)),
            exponent: state.exponent(right),
          };
    mergeProduct({
      w: state.view(weight),
      exponentW: state.exponent(weight),
      c: state.view(left),
      exponentC: state.exponent(left),
      v: v.values,
      exponentV: v.exponent,
      factor,
      out: state.view(weight).length / inputs,
      rank,
      in: inputs,
    });
    state.settle(weight);
    state.view(left).fill(0);
    state.settle(left);
  }
}

test('a merge changes the parameters and not the model, and the next epoch goes on with other rows', async () => {
  const spec = scope('subspace', { layers: '1-2', epochs: 2 });
  const { evaluator, state, plan } = await open(jobOf([stage(spec, { radius: 2 ** -6 })]));
  await evaluator.enter(0, 0);
  const before = await evaluator.evaluate('train', rows);
  const values = (await evaluator.probe(seedsOf(4), rows)).values;
  merge(state, stageTensors(plan, null)[0]!, 0);
  await evaluator.enter(0, 1);
  const after = await evaluator.evaluate('train', rows);
  assert.ok(Math.abs(after.lossSum - before.lossSum) < 1e-3, `${after.lossSum} against ${before.lossSum}`);
  assert.equal(after.correct, before.correct);
  // The same directions, now in front of other rows of V.
  const others = (await evaluator.probe(seedsOf(4), rows)).values;
  assert.ok(others.some((value, p) => Math.abs(value - values[p]!) > 0.01));
  await evaluator.close();
});

test('at the end of a stage, after its last merge, the state can still be evaluated', async () => {
  const { evaluator, state, plan } = await open(jobOf([stage(scope('subspace', { layers: '2' }))]));
  await evaluator.enter(0, 0);
  const before = await evaluator.evaluate('validation', rows.subarray(0, 11));
  merge(state, stageTensors(plan, null)[0]!, 0);
  await evaluator.enter(0, 1);
  const after = await evaluator.evaluate('validation', rows.subarray(0, 11));
  assert.ok(Math.abs(after.lossSum - before.lossSum) < 1e-3);
  await evaluator.close();
});

test('a stage sees what the stages before it merged or trained', async () => {
  const plan = [
    stage(scope('lora', { layers: '0-1' }), { radius: 2 ** -6 }),
    stage(scope('head')),
    stage(scope('subspace', { layers: '2' })),
    stage(scope('full', { layers: '1-2' })),
    stage(scope('lora', { layers: '2', head: false })),
  ];
  const opened = await open(jobOf(plan), { scatter: true });
  const { evaluator, state } = opened;
  for (const [i, { name }] of opened.plan.tensors.entries()) {
    if (name.startsWith('encoder.layer.2.') && /\.[BC]$/.test(name)) state.view(i).fill(0);
  }
  await evaluator.enter(0, 0);
  const before = await evaluator.evaluate('train', rows);
  merge(state, stageTensors(opened.plan, null)[0]!, 0);
  for (let index = 1; index < plan.length; index++) {
    await evaluator.enter(index, 0);
    const { lossSum, correct } = await evaluator.evaluate('train', rows);
    assert.ok(
      Math.abs(lossSum - before.lossSum) < 1e-3,
      `stage ${index}: ${lossSum} against ${before.lossSum}`,
    );
    assert.equal(correct, before.correct);
  }
  await evaluator.close();
});
