import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { permutation, Sampler } from '../../worker/task/sampler.ts';

const cases = fc.record({
  seed: fc.nat(),
  member: fc.string(),
  rows: fc.integer({ min: 1, max: 60 }),
  batch: fc.integer({ min: 1, max: 60 }),
});

test('every epoch holds every row exactly once', () => {
  fc.assert(
    fc.property(cases, ({ batch, ...options }) => {
      if (batch >= options.rows) return;
      const sampler = new Sampler(options);
      const drawn = Array.from({ length: 4 * options.rows }, (_, round) => [
        ...sampler.batch(round, batch),
      ]).flat();
      for (let epoch = 0; epoch < 4; epoch++) {
        const rows = drawn.slice(epoch * options.rows, (epoch + 1) * options.rows).sort((a, b) => a - b);
        assert.deepEqual(rows, [...Array(options.rows).keys()]);
      }
    }),
  );
});

test('a batch depends on its round alone, in whatever order rounds are asked for', () => {
  fc.assert(
    fc.property(
      cases,
      fc.array(fc.nat(200), { minLength: 1, maxLength: 20 }),
      ({ batch, ...options }, rounds) => {
        const sampler = new Sampler(options);
        for (const round of rounds) {
          assert.deepEqual(sampler.batch(round, batch), new Sampler(options).batch(round, batch));
        }
      },
    ),
  );
});

test('a batch at least as large as the data is all rows in their order', () => {
  const sampler = new Sampler({ seed: 1, member: 'a', rows: 5 });
  for (const batch of [5, 6, 1000]) assert.deepEqual([...sampler.batch(3, batch)], [0, 1, 2, 3, 4]);
  assert.equal(new Sampler({ seed: 1, member: 'a', rows: 0 }).batch(0, 16).length, 0);
});

test('members and seeds draw differently', () => {
  const first = (seed: number, member: string) =>
    new Sampler({ seed, member, rows: 1000 }).batch(0, 16).join();
  assert.notEqual(first(1, 'a'), first(1, 'b'));
  assert.notEqual(first(1, 'a'), first(2, 'a'));
});

test('places of a permutation are filled evenly', () => {
  const counts = new Float64Array(10);
  for (let i = 0; i < 5000; i++) counts[permutation(`seed ${i}`, 10)[0]!]!++;
  const chi = counts.reduce((sum, n) => sum + (n - 500) ** 2 / 500, 0);
  assert.ok(chi < 27.9, `chi square ${chi} with 9 degrees of freedom`); // 0.999 quantile
});
