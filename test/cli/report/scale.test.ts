import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { axis, downsample, smooth, tickLabel } from '../../../cli/report/scale.ts';

const finite = fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 });

test('an axis covers its range with a handful of labels that all differ', () => {
  assert.deepEqual(axis(0.42, 0.69, 4).ticks, [0.4, 0.5, 0.6, 0.7]);
  assert.deepEqual(axis(0, 300, 5, true), { low: 0, high: 300, ticks: [0, 100, 200, 300] });
  fc.assert(
    fc.property(finite, finite, (a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const { low: from, high: to, ticks } = axis(low, high, 4);
      // Up to rounding: a range that ends at a tick gets no further one.
      const slack = 1e-8 * (to - from);
      assert.ok(from <= low + slack && to >= high - slack);
      assert.ok(ticks.length >= 2 && ticks.length <= 12, `${ticks.length} ticks`);
      if (high - low > 1e-6 && Math.abs(high) < 1e6 && Math.abs(low) < 1e6) {
        assert.equal(new Set(ticks.map((tick) => tickLabel(tick, ticks))).size, ticks.length);
      }
    }),
  );
});

test('downsampling keeps the least and the greatest value, and says nothing of rounds without one', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 9999 }), fc.integer()), { minLength: 1 }),
      fc.integer({ min: 1, max: 500 }),
      (pairs, most) => {
        const points = pairs.map(([round, value]) => ({ round, value }));
        const sampled = downsample([...points, { round: 5, value: Number.NaN }], 10_000, most);
        assert.ok(sampled.length <= most);
        assert.equal(
          Math.min(...sampled.map((point) => point.min)),
          Math.min(...points.map((point) => point.value)),
        );
        assert.equal(
          Math.max(...sampled.map((point) => point.max)),
          Math.max(...points.map((point) => point.value)),
        );
        for (const point of sampled) assert.ok(point.min <= point.mean && point.mean <= point.max);
      },
    ),
  );
});

test('smoothing a straight line leaves it as it is but for its end, and never leaves the range', () => {
  const line = Array.from({ length: 20 }, (_, i) => i);
  assert.deepEqual(smooth(line, 3).slice(0, 17), line.slice(0, 17));
  fc.assert(
    fc.property(
      fc.array(fc.integer(), { minLength: 1 }),
      fc.integer({ min: 1, max: 10 }),
      (values, radius) => {
        for (const value of smooth(values, radius)) {
          assert.ok(value >= Math.min(...values) - 1e-3 && value <= Math.max(...values) + 1e-3);
        }
      },
    ),
  );
});
