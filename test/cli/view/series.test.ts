import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bar, curve, rangeOf, sparkline, strip } from '../../../cli/view/chart.ts';
import { EMPTY, merge, push, resample } from '../../../cli/view/series.ts';
import { columns } from '../../../cli/view/text.ts';
import { anyNumber } from '../arbitrary.ts';

test('a series stays small and keeps the sum, the least and the greatest of everything pushed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: -1000, max: 1000 })), {
        minLength: 1,
      }),
      (points) => {
        const series = points.reduce((so, [round, value]) => push(so, round, value), EMPTY);
        assert.ok(series.buckets.length <= 512);
        const all = series.buckets.reduce(merge);
        const values = points.map(([, value]) => value);
        assert.equal(all.count, points.length);
        assert.equal(
          all.sum,
          values.reduce((a, b) => a + b),
        );
        assert.equal(all.min, Math.min(...values));
        assert.equal(all.max, Math.max(...values));
      },
    ),
  );
});

test('rounds that cannot be and losses that are no numbers leave a series as it is', () => {
  const series = push(EMPTY, 3, 0.5);
  for (const round of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
    assert.equal(push(series, round, 1), series);
  assert.equal(push(series, 4, Number.NaN), series);
  assert.ok(push(series, Number.MAX_SAFE_INTEGER, 1).buckets.length <= 512);
});

test('resampling a constant gives the constant wherever there was a value', () => {
  let series = EMPTY;
  for (let round = 0; round < 2000; round += 1) series = push(series, round, 2);
  assert.deepEqual(resample(series, 0, 2000, 7), new Array(7).fill(2));
});

test('charts have exactly the asked size whatever the values', () => {
  fc.assert(
    fc.property(
      fc.array(anyNumber, { maxLength: 80 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 8 }),
      (values, width, height) => {
        const lines = curve(values, width, height, rangeOf(values) ?? { low: 0, high: 1 });
        assert.equal(lines.length, height);
        for (const line of lines) assert.equal(columns(line), width);
        assert.equal(columns(sparkline(values)), values.length);
        assert.equal(columns(strip(values, 16)), values.length);
        const { done, rest } = bar(values[0] ?? 0.5, width);
        assert.equal(columns(done + rest), width);
      },
    ),
  );
});

test('a falling line starts in the upper left corner and ends in the lower right one', () => {
  const values = Array.from({ length: 16 }, (_, i) => 15 - i);
  assert.deepEqual(curve(values, 8, 4, { low: 0, high: 15 }), [
    '⠑⢄      ',
    '  ⠑⢄    ',
    '    ⠑⢄  ',
    '      ⠑⢄',
  ]);
});
