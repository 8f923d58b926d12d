/** Observations as no honest run makes them: hostile texts, numbers of any kind, any order. */
import fc from 'fast-check';
import type { Observed } from '../../cli/view/events.ts';

/** Text with what could do harm: markup, quotes, terminal codes, wide, combining and reordering characters. */
export const hostileText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 24 }),
  fc.string({ unit: 'grapheme', maxLength: 24 }),
  fc.constantFrom(
    '<script>alert(1)</script>',
    '</style></pre><img src=x onerror=alert(1)>',
    `"'>&amp;&#39; onload="x"`,
    '\x1b[2J\x1b[1;1H\x1b]0;title\x07',
    '\u202eevil\u2066',
    '漢字テスト👩‍👩‍👧‍👦🇩🇪',
    'e\u0301'.repeat(20),
    '\ud800',
    'line\nbreak\r\ttab',
    '-->]]>{{}}`',
  ),
);

export const anyNumber = fc.oneof(
  fc.double(),
  fc.integer({ min: 0, max: 2000 }),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e308, 5e-324, 2 ** 53),
);

const slot = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer());
const round = fc.oneof(fc.integer({ min: 0, max: 400 }), anyNumber);
const evaluation = fc.record({
  split: fc.constantFrom('train' as const, 'validation' as const, 'test' as const),
  slot,
  count: anyNumber,
  lossSum: anyNumber,
  correct: anyNumber,
});

/** `anyRound`: what the round's number may be. */
export function anyObserved(anyRound: fc.Arbitrary<number> = round): fc.Arbitrary<Observed> {
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record(
        {
          type: fc.constant('round' as const),
          round: anyRound,
          elapsed: anyNumber,
          loss: anyNumber,
          members: fc.array(
            fc.record({ slot, probes: fc.oneof(fc.integer({ min: 0, max: 20 }), anyNumber) }),
            {
              maxLength: 6,
            },
          ),
          payloadBytes: anyNumber,
          forwards: anyNumber,
          examples: anyNumber,
          final: fc.boolean(),
          recordBytes: anyNumber,
          evaluations: fc.array(evaluation, { maxLength: 4 }),
        },
        {
          requiredKeys: [
            'type',
            'round',
            'elapsed',
            'loss',
            'members',
            'payloadBytes',
            'forwards',
            'examples',
          ],
        },
      ),
    },
    fc.record({ type: fc.constant('join' as const), slot, name: hostileText, group: hostileText }),
    fc.record({
      type: fc.constant('leave' as const),
      slot,
      why: fc.constantFrom('left' as const, 'lost' as const),
    }),
    fc.record(
      { type: fc.constant('phase' as const), text: hostileText, share: anyNumber },
      { requiredKeys: ['type', 'text'] },
    ),
    fc.record({
      type: fc.constant('model' as const),
      weights: anyNumber,
      trained: fc.array(anyNumber, { maxLength: 3 }),
    }),
    fc.record(
      { type: fc.constant('totals' as const), wireBytes: anyNumber, journalBytes: anyNumber },
      { requiredKeys: ['type'] },
    ),
    fc.record({
      type: fc.constant('dispute' as const),
      round: anyRound,
      slot,
      reason: fc.constantFrom('bytes' as const, 'digest' as const),
      proposer: hostileText,
    }),
    fc.record({
      type: fc.constant('divergence' as const),
      round: anyRound,
      slot,
      tensor: hostileText,
    }),
    fc.record({
      type: fc.constant('notice' as const),
      level: fc.constantFrom('info' as const, 'warning' as const, 'error' as const),
      text: hostileText,
    }),
  );
}
