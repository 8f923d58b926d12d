import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import pc from 'picocolors';
import type { Observed } from '../../../cli/view/events.ts';
import { renderResult } from '../../../cli/view/final.ts';
import { initial, update, type ViewModel } from '../../../cli/view/model.ts';
import { paceOf } from '../../../cli/view/pace.ts';
import { headerLine, plainEvent, plainProgress } from '../../../cli/view/plain.ts';
import { render } from '../../../cli/view/render.ts';
import { columns } from '../../../cli/view/text.ts';
import { anyNumber, anyObserved, hostileText } from '../arbitrary.ts';
import { JOB, samplePlan, sampleResult, sampleRun } from '../sample.ts';

const COLOURLESS = pc.createColors(false);
const COLOURED = pc.createColors(true);
// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes are the only control characters allowed
const COLOUR_CODES = /\x1b\[\d+m/g;

/** The model after `upTo` observations of the made-up run, 70 ms apart. */
function after(rounds: number, upTo: number): { model: ViewModel; now: number } {
  let now = 0;
  let model = initial(JOB, samplePlan(rounds), now);
  for (const seen of sampleRun(rounds).slice(0, upTo)) {
    if (seen.type === 'round') now += 70;
    model = update(model, seen, now);
  }
  return { model: update(model, { type: 'totals', wireBytes: 121_000, journalBytes: 11_300 }, now), now };
}

function snapshot(t: TestContext, lines: readonly string[], name: string): void {
  t.assert.fileSnapshot(`${lines.join('\n')}\n`, join(import.meta.dirname, 'snapshots', name), {
    serializers: [(value: unknown) => String(value)],
  });
}

test('a run half way looks like this on a wide screen', (t) => {
  const { model, now } = after(300, 206);
  snapshot(t, render(model, 100, 34, now, COLOURLESS), 'wide.txt');
});

test('and like this on the usual screen of 80 columns and 24 rows', (t) => {
  const { model, now } = after(300, 206);
  snapshot(t, render(model, 80, 23, now, COLOURLESS), 'usual.txt');
});

test('a small screen keeps what matters most', (t) => {
  const { model, now } = after(300, 206);
  snapshot(t, render(model, 60, 16, now, COLOURLESS), 'small.txt');
});

test('before the first round the view says what is being prepared', (t) => {
  const model = update(
    initial(JOB, samplePlan(300), 0),
    { type: 'phase', text: 'fetching model', share: 0.4 },
    10,
  );
  snapshot(t, render(model, 80, 24, 2000, COLOURLESS), 'preparing.txt');
});

test('faults stand out in the list of events', (t) => {
  const { model, now } = after(300, 100);
  const faults: Observed[] = [
    { type: 'leave', slot: 2, why: 'lost' },
    { type: 'join', slot: 2, name: 'news-0', group: 'news' },
    { type: 'dispute', round: 96, slot: 0, reason: 'bytes', proposer: 'tweets-0' },
    { type: 'divergence', round: 97, slot: 1, tensor: 'head.weight' },
    { type: 'notice', level: 'warning', text: '12 texts were cut to 64 tokens' },
  ];
  const last = faults.reduce((so, seen) => update(so, seen, now), model);
  snapshot(t, render(last, 100, 34, now, COLOURLESS), 'faults.txt');
});

test('the table at the end', (t) => {
  snapshot(t, renderResult(sampleResult(300), 100, COLOURLESS), 'final.txt');
});

test('the lines for a log', (t) => {
  const { model, now } = after(300, 206);
  const events = model.events.map((line) => plainEvent(model, line));
  snapshot(t, [headerLine(model), ...events, plainProgress(model, now)], 'plain.txt');
});

test('with colours the text is the same', () => {
  const { model, now } = after(300, 206);
  const plain = render(model, 100, 34, now, COLOURLESS);
  const coloured = render(model, 100, 34, now, COLOURED);
  assert.notDeepEqual(coloured, plain);
  assert.deepEqual(
    coloured.map((line) => line.replace(COLOUR_CODES, '')),
    plain,
  );
});

test('no order of observations breaks the view, no line is too wide, no text reaches the terminal as a command', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anyObserved(), fc.integer({ min: -10, max: 5000 })), { maxLength: 40 }),
      hostileText,
      fc.integer({ min: 1, max: 130 }),
      fc.integer({ min: 1, max: 50 }),
      (steps, name, width, height) => {
        let now = 0;
        let model = initial({ name, model: name }, samplePlan(300), now);
        for (const [seen, passed] of steps) {
          now += passed;
          model = update(model, seen, now);
        }
        const lines = render(model, width, height, now, COLOURED);
        assert.ok(lines.length <= height);
        for (const line of [...lines, headerLine(model), plainProgress(model, now)]) {
          const bare = line.replace(COLOUR_CODES, '');
          // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
          assert.doesNotMatch(bare, /[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
          if (lines.includes(line)) assert.ok(columns(line) <= width, `${columns(line)} > ${width}: ${bare}`);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('the table at the end fits any width, whatever the texts and numbers', () => {
  fc.assert(
    fc.property(hostileText, anyNumber, fc.integer({ min: 1, max: 120 }), (text, value, width) => {
      const change = { before: value, after: -value };
      const result = {
        ...sampleResult(20),
        name: text,
        digest: text,
        seconds: value,
        verify: text,
        scores: [
          {
            split: 'test' as const,
            group: text,
            examples: value,
            loss: change,
            metric: { name: text, ...change },
          },
        ],
        files: [{ path: text, what: text, bytes: value }],
      };
      for (const line of renderResult(result, width, COLOURED)) {
        assert.ok(columns(line) <= width);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
        assert.doesNotMatch(line.replace(COLOUR_CODES, ''), /[\x00-\x1f\x7f-\x9f]/);
      }
    }),
    { numRuns: 50 },
  );
});

test('a worker that comes back under its name keeps its row and its counts', () => {
  const { model, now } = after(300, 100);
  const before = model.members.find((row) => row.name === 'news-0')!;
  const gone = update(model, { type: 'leave', slot: 2, why: 'lost' }, now);
  const back = update(gone, { type: 'join', slot: 7, name: 'news-0', group: 'news' }, now);
  const rows = back.members.filter((row) => row.name === 'news-0');
  assert.equal(rows.length, 1);
  assert.equal(rows[0]!.probes, before.probes);
  assert.equal(rows[0]!.slot, 7);
  assert.equal(back.events.at(-1)!.text, 'news-0 is back');
});

test('a run that goes on counts what lies behind it, but shows none of it as news or as speed', () => {
  const behind = sampleRun(300).slice(0, 206);
  const model = update(initial(JOB, samplePlan(300), 0), { type: 'resumed', observed: behind }, 1000);
  const { model: live } = after(300, 206);
  assert.equal(model.rounds, live.rounds);
  assert.equal(model.payloadBytes, live.payloadBytes);
  assert.deepEqual(model.members, live.members);
  assert.deepEqual(
    model.events.map((event) => event.text),
    ['goes on from round 201'],
  );
  assert.equal(paceOf(model, 3000).roundsPerSecond, 0);
});

test('the counters of a whole run add up', () => {
  const { model } = after(300, Number.POSITIVE_INFINITY);
  const result = sampleResult(300);
  assert.equal(model.rounds, 300);
  assert.equal(model.seen, 300);
  assert.equal(model.payloadBytes, result.payloadBytes);
  assert.equal(model.forwards, result.forwards);
  assert.equal(model.examples, result.examples);
  assert.equal(
    model.members.reduce((sum, row) => sum + row.probes, 0),
    result.payloadBytes,
  );
});
