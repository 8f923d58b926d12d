import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  afterRecord,
  attemptTime,
  fullTime,
  type Pace,
  STARTING_PACE,
  sampled,
  silence,
  waitTime,
} from '../../worker/round/pace.ts';

const after = (pace: Pace, what: Parameters<typeof sampled>[1], samples: readonly number[]) =>
  samples.reduce((now, sample) => sampled(now, what, sample), pace);

test('waits are finite and within their bounds whatever was observed', () => {
  const observation = fc.tuple(
    fc.constantFrom('full' as const, 'behind' as const, 'commit' as const),
    fc.double({ min: -1e6, max: 1e9, noNaN: true }),
  );
  fc.assert(
    fc.property(
      fc.array(observation),
      fc.array(fc.boolean()),
      fc.nat(1e6),
      fc.nat(5000),
      (seen, records, first, attempt) => {
        let pace = seen.reduce((now, [what, sample]) => sampled(now, what, sample), STARTING_PACE);
        pace = records.reduce(afterRecord, pace);
        const wait = waitTime(pace, 'probe', first);
        const full = 1.25 * pace.full.mean;
        assert.ok(wait >= 60 && wait <= Math.max(2000, first, full));
        for (const patience of ['evaluation', 'final'] as const)
          assert.ok(waitTime(pace, patience, first) <= Math.max(20_000, 6 * first, full));
        const time = attemptTime(pace, attempt);
        assert.ok(time >= 100 && time <= 10_000);
      },
    ),
  );
});

test('a proposer learns how far members are apart and waits a little longer than that', () => {
  const pace = after(STARTING_PACE, 'behind', new Array(100).fill(300));
  const wait = waitTime(pace, 'probe', 100);
  assert.ok(wait >= 300 && wait < 330, `${wait}`);
});

test('a run is silent when nothing came for several times what its rounds take, and never before it is known', () => {
  assert.equal(silence(STARTING_PACE), Number.POSITIVE_INFINITY);
  const quick = silence(after(STARTING_PACE, 'round', [60, 65, 60, 70, 60]));
  assert.ok(quick > 4 * 60 && quick < 1500, `${quick}`);
  assert.ok(silence(after(STARTING_PACE, 'round', new Array(50).fill(30_000))) >= 120_000);
});

test('records that somebody missed double the wait, whole ones halve it again', () => {
  const steady = after(STARTING_PACE, 'behind', new Array(100).fill(100));
  const twice = afterRecord(afterRecord(steady, false), false);
  const wait = (pace: Pace) => waitTime(pace, 'probe', 0);
  assert.equal(wait(twice), 4 * wait(steady));
  assert.equal(wait(afterRecord(afterRecord(twice, true), true)), wait(steady));
  assert.equal(wait(afterRecord(steady, true)), wait(steady));
});

test('a round that takes long gives its stragglers time in proportion', () => {
  const pace = after(STARTING_PACE, 'behind', [0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(waitTime(pace, 'probe', 8000), 2000);
  assert.equal(waitTime(pace, 'final', 8000), 24_000);
});

test('a first contribution of few probes does not hurry those that evaluate more', () => {
  const pace = after(after(STARTING_PACE, 'behind', new Array(100).fill(0)), 'full', [160]);
  assert.ok(10 + waitTime(pace, 'probe', 10) >= 200);
  assert.equal(
    fullTime(
      [
        { took: 10, probes: 1 },
        { took: 160, probes: 16 },
        { took: 900, probes: 16 },
      ],
      16,
    ),
    160,
  );
});
