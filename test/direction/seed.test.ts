import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { directionSeed, encodeFields, hashToUint, poolSeed } from '../../worker/direction/seed.ts';

const field = fc.oneof(fc.maxSafeInteger(), fc.uint8Array({ maxLength: 40 }));

test('different tags or fields never share an encoding', () => {
  const input = fc.tuple(fc.string({ maxLength: 8 }), fc.array(field, { maxLength: 4 }));
  fc.assert(
    fc.property(input, input, ([tagA, a], [tagB, b]) => {
      const same = tagA === tagB && JSON.stringify(a.map(String)) === JSON.stringify(b.map(String));
      const kinds = a.map((f) => typeof f).join() === b.map((f) => typeof f).join();
      fc.pre(!(same && !kinds));
      assert.equal(Buffer.compare(encodeFields(tagA, a), encodeFields(tagB, b)) === 0, same);
    }),
  );
});

test('a direction seed is the first 16 bytes of SHA-256 over the documented bytes', () => {
  const roundChain = Uint8Array.from({ length: 32 }, (_, i) => i);
  const tag = Buffer.from('onebyte/direction/1');
  const bytes = Buffer.alloc(1 + tag.length + 8 + 4 + 32 + 24);
  let at = bytes.writeUInt8(tag.length, 0);
  at += tag.copy(bytes, at);
  at = bytes.writeBigInt64LE(-7n, at);
  at = bytes.writeUInt32LE(32, at);
  bytes.set(roundChain, at);
  at = bytes.writeBigInt64LE(3n, at + 32);
  at = bytes.writeBigInt64LE(4n, at);
  bytes.writeBigInt64LE(5n, at);
  const digest = createHash('sha256').update(bytes).digest();
  const seed = directionSeed({ jobSeed: -7, roundChain, round: 3, slot: 4, probe: 5 });
  assert.deepEqual(
    [...seed],
    [0, 4, 8, 12].map((i) => digest.readUInt32LE(i)),
  );
});

test('every part of a probe name changes its seed', () => {
  const base = { jobSeed: 1, roundChain: new Uint8Array(32), round: 2, slot: 3, probe: 4 };
  const chain = Uint8Array.from({ length: 32 }, (_, i) => (i === 31 ? 1 : 0));
  const names = [
    base,
    { ...base, jobSeed: 2 },
    { ...base, round: 3 },
    { ...base, slot: 2 },
    { ...base, probe: 5 },
    { ...base, roundChain: chain },
  ];
  const seeds = [...names.map((n) => directionSeed(n).join()), poolSeed(1, 0).join(), poolSeed(1, 1).join()];
  assert.equal(new Set(seeds).size, seeds.length);
});

test('a hash to a range covers it evenly', () => {
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 20_000; i++) counts[hashToUint('test', [i], 10)]!++;
  // Chi-square with 9 degrees of freedom: 27.9 has a probability of 0.001.
  const chi = counts.reduce((sum, c) => sum + (c - 2000) ** 2 / 2000, 0);
  assert.ok(chi < 27.9, `chi-square ${chi}`);
});

test('a hash to an impossible range, or of a number that is no integer, is refused', () => {
  assert.throws(() => hashToUint('test', [], 0), RangeError);
  assert.throws(() => encodeFields('test', [0.5]), RangeError);
  assert.throws(() => encodeFields('x'.repeat(256), []), RangeError);
});
