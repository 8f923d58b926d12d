import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { gather } from '../../../cli/report/history.ts';
import { escapeHtml } from '../../../cli/report/html.ts';
import type { ReportInput } from '../../../cli/report/input.ts';
import { renderReport } from '../../../cli/report/report.ts';
import { allReduceBytes, gradientCost } from '../../../cli/report/traffic.ts';
import { anyNumber, anyObserved, hostileText } from '../arbitrary.ts';
import { samplePlan, sampleRun } from '../sample.ts';
import { sampleReport } from '../sample-report.ts';
import { outline } from './markup.ts';

/** The report with every text that comes from outside replaced; each keeps a letter, so that none is empty. */
function withTexts(texts: readonly string[]): ReportInput {
  const at = (i: number): string => `x${texts[i % texts.length]}`;
  const input = sampleReport(40);
  return {
    ...input,
    job: { name: at(0), model: `hf://${at(1)}` },
    jobText: at(2),
    plan: { ...input.plan, stages: input.plan.stages.map((stage, i) => ({ ...stage, label: at(3 + i) })) },
    verify: at(5),
    digests: input.digests.map(({ what }, i) => ({ what: at(6 + i) + what, digest: at(7 + i) })),
    observed: input.observed.map((seen) =>
      seen.type === 'join' ? { ...seen, name: `${at(8)}${seen.slot}`, group: `g${at(9)}${seen.slot}` } : seen,
    ),
    result: {
      ...input.result,
      digest: at(10),
      scores: input.result.scores.map((score) => ({
        ...score,
        ...(score.group === undefined ? {} : { group: at(11) }),
        ...(score.metric === undefined ? {} : { metric: { ...score.metric, name: at(12) } }),
      })),
    },
  };
}

test('the report of a small run reads like this', (t) => {
  const page = renderReport(sampleReport(40));
  const body = page.replace(/<(style|script)>.*?<\/\1>/gs, '<$1>…</$1>').replace(/sha256-[^']*/, 'sha256-…');
  t.assert.fileSnapshot(body, join(import.meta.dirname, 'snapshots', 'report.html.txt'), {
    serializers: [(value: unknown) => String(value)],
  });
});

test('whatever texts it is given, the page has the same tags and attributes, and shows the texts as they are', () => {
  const plain = outline(renderReport(withTexts(['plain'])));
  fc.assert(
    fc.property(fc.array(hostileText, { minLength: 1, maxLength: 13 }), (texts) => {
      const page = outline(renderReport(withTexts(texts)));
      assert.deepEqual(page.tags, plain.tags);
      const shown = outline(`<!doctype html>\n<pre>${escapeHtml(`x${texts[2 % texts.length]}`)}</pre>`);
      assert.ok(page.text.includes(shown.text));
    }),
    { numRuns: 60 },
  );
});

test('the page has nothing to fetch, and its policy forbids fetching', () => {
  const page = renderReport(sampleReport(40));
  const { tags } = outline(page);
  assert.ok(
    tags.every(
      (tag) => !/^(link|img|iframe|object|embed|a)\b| (src|href|srcset|action|on[a-z]+)\b/.test(tag),
    ),
  );
  assert.doesNotMatch(page, /@import|url\(/);
  assert.ok(page.includes('default-src &#39;none&#39;'));
});

test('the data for the script is the JSON that went in, whatever it holds', () => {
  const page = outline(renderReport(withTexts(['"></figure><script>', '{"a":1}'])));
  const data = page.values.filter((value) => value.startsWith('{"span"'));
  assert.equal(data.length, 2);
  for (const value of data) assert.equal(JSON.parse(value).span, 40);
});

test('five thousand rounds with sixty-four workers stay under 300 kB', () => {
  const input = sampleReport(5000);
  assert.ok(renderReport(input).length <= 100_000);
  const crowd = input.observed.map((seen) =>
    seen.type !== 'round' || seen.final === true
      ? seen
      : {
          ...seen,
          members: Array.from({ length: 64 }, (_, slot) => ({
            slot,
            probes: (slot * 7 + seen.round * 13) % 17,
          })),
        },
  );
  const page = renderReport({ ...input, observed: crowd });
  assert.ok(Buffer.byteLength(page) <= 300_000, `${Buffer.byteLength(page)} bytes`);
  outline(page);
});

test('no run breaks the report: any observations, any numbers, no rounds at all', () => {
  const round = fc.integer({ min: 0, max: 500 });
  fc.assert(
    fc.property(
      fc.array(anyObserved(round), { maxLength: 40 }),
      anyNumber,
      anyNumber,
      (observed, value, time) => {
        const input = sampleReport(20);
        const page = renderReport({
          ...input,
          observed,
          startedAt: time,
          weights: value,
          trained: [value],
          result: { ...input.result, payloadBytes: value, wireBytes: value, journalBytes: value, scores: [] },
        });
        outline(page);
        assert.ok(!/ (d|style|width)="[^"]*(NaN|Infinity)/.test(page));
      },
    ),
    { numRuns: 100 },
  );
});

test('a ring all-reduce of d fp16 numbers among n workers moves 2 (n - 1) 2 d bytes', () => {
  assert.equal(allReduceBytes(1000, 1), 0);
  assert.equal(allReduceBytes(1000, 4), 12_000);
  // Round by round with who took part: 9 rounds of head and 6 of subspace, where the sample has 2 to 4 workers.
  const observed = sampleRun(15);
  const history = gather(observed);
  const cost = gradientCost(history, samplePlan(15), [10, 100], 1000);
  let [trained, whole] = [0, 0];
  for (const seen of history.rounds) {
    const n = seen.members.filter((member) => member.probes > 0).length;
    trained += 4 * (n - 1) * (seen.round < 9 ? 10 : 100);
    whole += 4 * (n - 1) * 1000;
  }
  assert.deepEqual(cost, { trained, whole });
});

test('every probe of the run is some person’s, and every missed round is counted', () => {
  const observed = sampleRun(300);
  const history = gather(observed);
  const members = history.rounds.flatMap((seen) => seen.members);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  assert.equal(
    sum(history.people.map((person) => person.probes)),
    sum(members.map((member) => member.probes)),
  );
  assert.equal(
    sum(history.people.map((person) => person.missed)),
    members.filter((member) => member.probes === 0).length,
  );
  assert.deepEqual(
    history.people.map((person) => person.name),
    ['movies-0', 'products-0', 'news-0', 'tweets-0'],
  );
});
