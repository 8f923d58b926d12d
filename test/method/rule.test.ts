import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { coefficients, type Measurement, measurements, weights } from '../../worker/method/rule.ts';

const one = (values: number[]): Measurement[] => values.map((value, probe) => ({ slot: 0, probe, value }));
const ones = (n: number) => new Float64Array(n).fill(1);
const sgd = { type: 'sgd', learningRate: 0.1, scaling: 'mean' } as const;
const two = { sides: 2, radius: 1e-3 } as const;

test('sgd with two sides is the mean of the projected gradients times the learning rate, downhill', () => {
  assert.deepEqual([...coefficients(one([1, -3]), ones(2), sgd, two, 1)], [-0.05, 0.15000000000000002]);
});

test('one-sided values lose what they have in common', () => {
  const a = coefficients(one([1, 2, 6]), ones(3), sgd, { sides: 1, radius: 1e-3 }, 1);
  const b = coefficients(one([101, 102, 106]), ones(3), sgd, { sides: 1, radius: 1e-3 }, 1);
  for (let i = 0; i < 3; i++) assert.ok(Math.abs(a[i]! - b[i]!) < 1e-12);
});

test('the normalized rule moves a weight by the radius times the learning rate, whatever the scale of the loss', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 2, maxLength: 40 }),
      fc.double({ min: 1e-2, max: 1e3, noNaN: true }),
      (values, scale) => {
        fc.pre(values.some((v) => Math.abs(v) > 1e-3));
        const rule = { type: 'normalized', learningRate: 1, scaling: 'sqrt' } as const;
        const a = coefficients(one(values), ones(values.length), rule, two, 1);
        const b = coefficients(one(values.map((v) => v * scale)), ones(values.length), rule, two, 1);
        // Root mean square movement of a weight under independent signs: sqrt(sum a^2).
        assert.ok(Math.abs(Math.hypot(...a) / 1e-3 - 1) < 1e-9);
        for (const [i, x] of a.entries()) assert.ok(Math.abs(x - b[i]!) <= 1e-9 * Math.abs(x) + 1e-15);
      },
    ),
  );
});

test('equal measurements under the one-sided normalized rule move nothing', () => {
  const rule = { type: 'normalized', learningRate: 1, scaling: 'sqrt' } as const;
  assert.deepEqual(
    [...coefficients(one([2, 2]), ones(2), rule, { sides: 1, radius: 1 }, 1)].map(Math.abs),
    [0, 0],
  );
});

test('weights have mean one; workers and examples count as they say', () => {
  const measured: Measurement[] = [
    { slot: 0, probe: 0, value: 1 },
    { slot: 0, probe: 1, value: 1 },
    { slot: 0, probe: 2, value: 1 },
    { slot: 3, probe: 0, value: 1 },
  ];
  const sum = (w: Float64Array) => w.reduce((a, b) => a + b, 0);
  const workers = weights(measured, 'workers', () => 1);
  assert.ok(Math.abs(sum(workers) - 4) < 1e-12 && Math.abs(workers[3]! - 2) < 1e-12);
  const examples = weights(measured, 'examples', (slot) => (slot === 0 ? 30 : 10));
  assert.ok(Math.abs(sum(examples) - 4) < 1e-12 && Math.abs(examples[3]! - 1) < 1e-12);
});

test('abstaining bytes take no part', () => {
  const measured = measurements('log8', [2, 5], [Uint8Array.of(0, 127), Uint8Array.of(0)]);
  assert.deepEqual(
    measured.map(({ slot, probe }) => [slot, probe]),
    [[2, 1]],
  );
});
