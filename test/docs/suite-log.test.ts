import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isWhole, readSuite, spreadOf } from '../../bench/lib/suite-log.ts';

/** As the `spec` reporter prints it. */
function log(gap: number, first: number, digest: string, failed = 0): string {
  return `image onebyte:e2e: 115 MiB
▶ a run
  ✔ node2 is killed (${first * 1000}.25ms)
  ℹ node2 is killed: ${gap} ms from the last record before to the first after
  ℹ onebyte-7d9-x1: digest ${digest}
✔ a run (9000ms)
ℹ tests 2
ℹ pass ${2 - failed}
ℹ fail ${failed}
ℹ duration_ms 61500.5
`;
}

test('figures that all runs printed are given as least, middle and most, names and lone lines as they are or not at all', () => {
  const suites = [log(140, 3, 'a1'), log(96, 5, 'b2'), log(1100, 4, 'c3')].map(readSuite);
  assert.deepEqual(spreadOf(suites), [
    {
      test: 'node2 is killed',
      lines: [
        '3.0 / 4.0 / 5.0 s in all',
        'node2 is killed: 96 / 140 / 1100 ms from the last record before to the first after',
      ],
    },
    { test: 'a run', lines: ['9.0 s in all'] },
  ]);
});

test('a run that failed, or that printed no end, is not a whole one', () => {
  const texts = [log(1, 1, 'a'), log(1, 1, 'a', 1), 'killed half-way'];
  assert.deepEqual(
    texts.map((text) => isWhole(readSuite(text))),
    [true, false, false],
  );
  assert.equal(readSuite(log(1, 1, 'a')).seconds, 61.5005);
});
