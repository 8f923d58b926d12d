import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inTime, late, missed, type ProbeCount, startingCount, within } from '../../worker/round/probes.ts';

const bounds = { min: 1, max: 16 };

/** Rounds of a worker whose probes take `cost` ms where others are done in `others` ms. */
function run(cost: number, others: number, rounds: number): { counts: number[]; misses: number } {
  let probes: ProbeCount = startingCount(bounds);
  const counts: number[] = [];
  let misses = 0;
  for (let round = 0; round < rounds; round++) {
    counts.push(probes.count);
    const took = probes.count * cost;
    if (took > 2 * others) {
      misses++;
      probes = missed(probes, bounds);
      continue;
    }
    if (took - others > Math.max(20, others / 2)) probes = late(probes, bounds, took - others, took);
    probes = inTime(probes, bounds);
  }
  return { counts, misses };
}

test('a worker as fast as the others always evaluates the most', () => {
  const { counts, misses } = run(10, 160, 100);
  assert.ok(counts.every((count) => count === 16));
  assert.equal(misses, 0);
});

test('a worker four times slower settles near a quarter within three rounds, and is then in time', () => {
  const { counts, misses } = run(40, 160, 200);
  assert.ok(misses <= 3, `${misses} misses`);
  const settled = counts.slice(3);
  assert.ok(
    settled.every((count) => count >= 2 && count <= 7),
    counts.join(' '),
  );
});

test('a worker that got faster climbs back to the most', () => {
  let probes: ProbeCount = { ...startingCount(bounds), count: 2, fits: 2 };
  let rounds = 0;
  for (; probes.count < bounds.max; rounds++) probes = inTime(probes, bounds);
  assert.ok(rounds <= 14 * 16);
});

test('four misses in a row bring any count to the least, before the member is out', () => {
  let probes = startingCount({ min: 1, max: 64 });
  for (let i = 0; i < 4; i++) probes = missed(probes, { min: 1, max: 64 });
  assert.equal(probes.count, 1);
});

test('a slow network is no reason to evaluate fewer probes', () => {
  const probes = startingCount(bounds);
  assert.deepEqual(late(probes, bounds, 600, 5), probes);
  assert.equal(late(probes, bounds, 30, 40).count, 4);
});

test('the count stays within its bounds whatever happens', () => {
  const happening = fc.oneof(
    fc.constant((probes: ProbeCount) => inTime(probes, bounds)),
    fc.constant((probes: ProbeCount) => missed(probes, bounds)),
    fc.tuple(fc.double(), fc.double()).map(
      ([behind, took]) =>
        (probes: ProbeCount) =>
          late(probes, bounds, behind, took),
    ),
  );
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 200 }), (happenings) => {
      let probes = startingCount(bounds);
      for (const happen of happenings) {
        probes = happen(probes);
        assert.ok(Number.isInteger(probes.count) && probes.count >= bounds.min && probes.count <= bounds.max);
      }
      assert.equal(within(probes, { min: 3, max: 3 }).count, 3);
    }),
  );
});
