import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import { State } from '../../worker/grid/state.ts';
import { Momentum } from '../../worker/replica/momentum.ts';

const TENSORS = [
  { name: 'a', shape: [3, 41], exponent: -20 },
  { name: 'b', shape: [700], exponent: -12 },
];

test('momentum by the kernels gives the bits of the plain reference, also where it coarsens', () => {
  // Small steps, steps of which a few coarsen a tensor, and steps whose sum the kernels may not take.
  const step = fc.constantFrom(50, 2 ** 20, 2 ** 24).chain((most) => fc.integer({ min: -most, max: most }));
  const round = fc.record({
    seeds: fc.uint32Array({ minLength: 12, maxLength: 12 }),
    coefficients: fc.array(step, { minLength: 6, maxLength: 6 }),
    stops: fc.constantFrom(null, null, 0, 1),
  });
  fc.assert(
    fc.property(
      fc.array(round, { minLength: 1, maxLength: 8 }),
      fc.constantFrom(0.5, 0.9, 0.99),
      (rounds, beta) => {
        const [fast, plain] = [new State(TENSORS), new ReferenceStore(TENSORS)];
        const [a, b] = [new Momentum(fast), new Momentum(plain)];
        for (const { seeds, coefficients, stops } of rounds) {
          if (stops !== null) for (const momentum of [a, b]) momentum.forget(stops);
          const update = { count: 3, seeds, tensors: [0, 1], coefficients: Int32Array.from(coefficients) };
          assert.deepEqual(a.apply(update, beta), b.apply(update, beta));
          assert.equal(fast.digest(), plain.digest());
        }
      },
    ),
    { numRuns: 150 },
  );
});
