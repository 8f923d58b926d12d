import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodePack, encodePack } from '../../worker/store/pack.ts';

const pack = fc.record(
  { from: fc.nat(1 << 30), bodies: fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 50 }) },
  { noNullPrototype: true },
);

test('a pack reads back as what was packed', () => {
  fc.assert(
    fc.property(pack, (given) => {
      assert.deepEqual(decodePack(encodePack(given)), given);
    }),
  );
});

test('bytes that are no pack are none, whatever they are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      decodePack(bytes);
      assert.equal(decodePack(Uint8Array.of(2, ...bytes)), null);
    }),
  );
  fc.assert(
    fc.property(pack, fc.nat(), fc.integer({ min: 1, max: 255 }), (given, at, change) => {
      const bytes = Uint8Array.from(encodePack(given));
      bytes[at % bytes.length]! ^= change;
      const read = decodePack(bytes);
      assert.ok(read === null || Number.isSafeInteger(read.from));
      assert.equal(decodePack(bytes.subarray(0, Math.min(1, bytes.length))), null);
    }),
  );
});
