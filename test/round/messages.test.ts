import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeMessage, encodeMessage, type Message } from '../../worker/round/messages.ts';
import { signs } from '../journal/signs.ts';

const tag = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const natural = (max: number) => fc.integer({ min: 0, max });
const single = fc.float({ noNaN: false, noDefaultInfinity: false });

const proposal = fc.record({
  kind: fc.constant('proposal' as const),
  round: natural(2 ** 40),
  tag,
  slot: natural(4096),
  attempt: natural(5000),
  bytes: fc.oneof(fc.uint8Array({ maxLength: 64 }), signs(64)),
  lossSum: single,
  lossCount: natural(1000),
  evaluations: fc
    .uniqueArray(
      fc.record({
        split: fc.constantFrom('train' as const, 'validation' as const, 'test' as const),
        count: natural(10_000),
        correct: fc.constant(0),
        lossSum: single,
      }),
      { selector: ({ split }) => split },
    )
    .map((sums) => sums.map((item) => ({ ...item, correct: item.count >> 1 }))),
});

const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  proposal.map((made) => (made.lossCount === 0 ? { ...made, lossSum: 0 } : made)),
  fc.record({
    kind: fc.constant('join' as const),
    run: tag,
    join: fc.record({
      id: tag,
      name: fc.string({ unit: 'grapheme' }),
      group: fc.string({ unit: 'grapheme' }),
      examples: natural(2 ** 40),
    }),
  }),
  fc.record({ kind: fc.constant('leave' as const), run: tag }),
  fc.record({ kind: fc.constant('here' as const), tag }),
  fc.record({ kind: fc.constant('late' as const), tag, behind: natural(2 ** 31 - 1) }),
);

test('every message comes back from its encoding as it was', () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      // fast-check's records have no prototype.
      assert.deepEqual(decodeMessage(encodeMessage(message)), structuredClone(message));
    }),
  );
});

test('no bytes make the decoder throw, and what it accepts is a message that encodes again', () => {
  const noise = fc.uint8Array({ maxLength: 80 });
  const damaged = fc
    .tuple(anyMessage, fc.nat(), fc.nat({ max: 255 }))
    .map(([message, at, byte]) =>
      encodeMessage(message).map((own, i, all) => (i === at % all.length ? byte : own)),
    );
  fc.assert(
    fc.property(fc.oneof(noise, damaged), (bytes) => {
      const message = decodeMessage(bytes);
      if (message !== null) assert.deepEqual(decodeMessage(encodeMessage(message)), message);
    }),
    { numRuns: 2000 },
  );
});

test('a message cut short or with bytes behind it is none', () => {
  fc.assert(
    fc.property(anyMessage, fc.nat(), (message, at) => {
      const bytes = encodeMessage(message);
      const rest = message.kind === 'proposal' ? { ...message, evaluations: [] } : message;
      // Evaluations are a list to the end, so a proposal may lose whole ones.
      const short = encodeMessage(rest);
      assert.equal(decodeMessage(short.subarray(0, at % short.length)), null);
      assert.equal(decodeMessage(Uint8Array.from([...bytes, 9])), null);
    }),
  );
});

test('a proposal of five probes takes 24 bytes, and of five signs 20', () => {
  const message: Message = {
    kind: 'proposal',
    round: 1999,
    tag: '0123456789abcdef',
    slot: 7,
    attempt: 0,
    bytes: Uint8Array.of(1, 2, 3, 4, 5),
    lossSum: 12.5,
    lossCount: 64,
    evaluations: [],
  };
  assert.equal(encodeMessage(message).length, 24);
  assert.equal(encodeMessage({ ...message, bytes: Uint8Array.of(1, 0x81, 0, 1, 1) }).length, 20);
});
