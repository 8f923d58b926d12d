import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { philox } from '../../worker/direction/philox.ts';
import {
  chooseExponent,
  LIMIT_QUANTA,
  powerOfTwo,
  roundCoefficient,
  roundHalfEven,
  roundingWords,
  roundToGrid,
} from '../../worker/grid/quantum.ts';
import { seeds } from './arbitrary.ts';

const positive = fc.float({ min: Math.fround(1e-25), max: Math.fround(1e25), noNaN: true });

test('powers of two are exact', () => {
  let expected = 1;
  for (let e = 0; e <= 1022; e++, expected *= 2) {
    assert.equal(powerOfTwo(e), expected);
    assert.equal(powerOfTwo(-e), 1 / expected);
  }
  assert.throws(() => powerOfTwo(1024), RangeError);
  assert.throws(() => powerOfTwo(0.5), RangeError);
});

test('the chosen quantum is the smallest that leaves the headroom', () => {
  fc.assert(
    fc.property(positive, fc.integer({ min: 2, max: 64 }), (max, headroom) => {
      const exponent = chooseExponent(max, headroom);
      assert.ok(max * headroom < 2 ** 24 * powerOfTwo(exponent));
      assert.ok(max * headroom >= 2 ** 24 * powerOfTwo(exponent - 1));
    }),
  );
});

test('a tensor of zeros takes its quantum from the scale it is expected to reach, and needs one', () => {
  assert.equal(chooseExponent(0, 8, 0.05), chooseExponent(0.05));
  assert.equal(chooseExponent(0.2, 8, 0.05), chooseExponent(0.2));
  assert.throws(() => chooseExponent(0), RangeError);
  assert.throws(() => chooseExponent(Number.POSITIVE_INFINITY), RangeError);
  assert.throws(() => chooseExponent(Number.NaN), RangeError);
  assert.throws(() => chooseExponent(1, 1), RangeError);
});

test('halves round to even, and zero is never negative', () => {
  const halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5];
  assert.deepEqual(halves.map(roundHalfEven), [-2, -2, 0, 0, 2, 2, 4]);
  assert.ok(Object.is(roundHalfEven(-0.25), 0));
  fc.assert(
    fc.property(
      fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
      fc.double({ min: -0.499, max: 0.499, noNaN: true }),
      (n, f) => {
        assert.equal(roundHalfEven(n + f), n + 0);
      },
    ),
  );
});

test('rounding to the grid gives the nearest multiples, and leaves them alone the second time', () => {
  fc.assert(
    fc.property(fc.float32Array({ min: -2, max: 2, noNaN: true, maxLength: 50 }), (array) => {
      const exponent = -20;
      const rounded = roundToGrid(array, exponent);
      rounded.forEach((x, i) => {
        assert.ok(Number.isInteger(x * 2 ** 20) && !Object.is(x, -0));
        assert.ok(Math.abs(x - array[i]!) <= 2 ** -21);
      });
      assert.deepEqual(roundToGrid(rounded, exponent), rounded);
    }),
  );
});

test('values that are not finite or beyond the grid are refused by name', () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, LIMIT_QUANTA + 1])
    assert.throws(() => roundToGrid([0, bad], 0), { code: 'GRID_RANGE' });
  assert.deepEqual([...roundToGrid([LIMIT_QUANTA, -LIMIT_QUANTA], 0)], [LIMIT_QUANTA, -LIMIT_QUANTA]);
});

test('a coefficient rounds to a neighbour, and whole quanta stay', () => {
  fc.assert(
    fc.property(fc.double({ min: -1e6, max: 1e6, noNaN: true }), seeds, fc.nat(100), (x, seed, tensor) => {
      const n = roundCoefficient(x, 0, roundingWords(seed, tensor));
      assert.ok(Math.abs(n - x) < 1 && Number.isInteger(n) && !Object.is(n, -0));
      assert.equal(roundCoefficient(Math.round(x), 0, roundingWords(seed, tensor)), Math.round(x) + 0);
      assert.equal(roundCoefficient(x * 2 ** -19, -19, roundingWords(seed, tensor)), n);
    }),
  );
});

test('stochastic rounding is unbiased', () => {
  const draws = 40_000;
  for (const x of [0.1, -0.3, 2.5, 7.999, 0.001]) {
    let sum = 0;
    for (let i = 0; i < draws; i++) sum += roundCoefficient(x, 0, roundingWords([i, 1, 2, 3], 5));
    const fraction = x - Math.floor(x);
    const deviation = Math.sqrt((fraction * (1 - fraction)) / draws);
    // Four standard deviations of the mean of `draws` Bernoulli variables; the draws are fixed.
    assert.ok(Math.abs(sum / draws - x) < 4 * deviation, `${x} became ${sum / draws}`);
  }
});

test('rounding never shares a Philox counter with a direction', () => {
  const seed = [1, 2, 3, 4];
  assert.deepEqual(roundingWords(seed, 7), philox(0, 0x80000007, 3, 4, 1, 2));
});

test('coefficients saturate instead of wrapping, and NaN is refused', () => {
  const words = [0, 0];
  assert.equal(roundCoefficient(1e30, 0, words), 2 ** 30);
  assert.equal(roundCoefficient(Number.NEGATIVE_INFINITY, 0, words), -(2 ** 30));
  assert.throws(() => roundCoefficient(Number.NaN, 0, words), { code: 'INTERNAL' });
});
