import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { drawCandidate, drawTable, emptyHistory, exponential, remember } from '../../worker/method/pool.ts';

test('the series for e ** x on [0, 1] is right to the last bits', () => {
  for (let i = 0; i <= 1000; i++) {
    const x = i / 1000;
    assert.ok(Math.abs(exponential(x) / Math.exp(x) - 1) < 1e-15);
  }
});

test('a seed with larger gradients is drawn more often, by at most a factor e', () => {
  const history = emptyHistory(4);
  remember(history, 0, 50);
  remember(history, 1, 5);
  const table = drawTable(history, 'differentiated');
  const p = [...table].map((x, i) => x - (table[i - 1] ?? 0));
  assert.ok(p[0]! > p[1]! && p[1]! > p[2]! && p[2] === p[3]);
  assert.ok(p[0]! / p[3]! <= Math.E * (1 + 1e-9));
});

test('taking back what was remembered gives the same probabilities, bit for bit', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(7), fc.double({ min: -1e5, max: 1e5, noNaN: true }))),
      fc.array(fc.tuple(fc.nat(7), fc.double({ min: -1e5, max: 1e5, noNaN: true }))),
      (kept, undone) => {
        const history = emptyHistory(8);
        for (const [j, v] of kept) remember(history, j, v);
        const before = drawTable(history, 'differentiated');
        for (const [j, v] of undone) remember(history, j, v);
        for (const [j, v] of undone.toReversed()) remember(history, j, v, -1);
        assert.deepEqual(drawTable(history, 'differentiated'), before);
      },
    ),
  );
});

test('a draw falls on the candidate whose share of [0, 1) it lies in', () => {
  const table = drawTable(emptyHistory(5), 'uniform');
  for (let i = 0; i < 100; i++) assert.equal(drawCandidate(table, i / 100), Math.floor(i / 20));
});
