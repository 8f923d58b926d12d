import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Basis,
  basisDigest,
  basisFloats,
  basisSlice,
  quantiseRows,
  randomBasis,
  siteName,
} from '../../worker/engine/basis.ts';
import { decodeBasis, encodeBasis } from '../../worker/engine/basis-file.ts';
import { OnebyteError } from '../../worker/errors.ts';

const example = (): Basis =>
  new Map([
    [siteName(1, 'key'), randomBasis(3, '1.attention', 12, 4)],
    [siteName(0, 'down'), randomBasis(3, '0.down', 20, 2)],
  ]);

const invalid = (error: unknown) => error instanceof OnebyteError && error.code === 'BASIS_INVALID';

test('a basis comes back from its bytes, and equal bases have equal bytes', () => {
  const basis = example();
  const bytes = encodeBasis(basis);
  const back = decodeBasis(bytes);
  assert.deepEqual(back, new Map([...basis].sort()));
  assert.deepEqual(encodeBasis(new Map([...basis].reverse())), bytes);
  assert.match(basisDigest(bytes), /^[0-9a-f]{64}$/);
});

test('a basis cut off anywhere, or with bytes after its end, is refused', () => {
  const bytes = encodeBasis(example());
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeBasis(bytes.slice(0, length)), invalid, `${length} bytes`);
  }
  assert.throws(() => decodeBasis(Uint8Array.from([...bytes, 0])), invalid);
});

test('a changed byte is refused or changes numbers only, and never ends in another error', () => {
  const bytes = encodeBasis(example());
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = bytes.slice();
      changed[at]! ^= flip;
      try {
        assert.deepEqual(encodeBasis(decodeBasis(changed)), changed);
      } catch (error) {
        if (!invalid(error)) throw error;
      }
    }),
    { numRuns: 500 },
  );
});

test('rows keep their direction to within the int8 grid', () => {
  const width = 64;
  const site = randomBasis(11, 'x', width, 8);
  const rows = basisFloats(site);
  for (let i = 0; i < 8; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < width; k++) sum += rows[i * width + k]! * rows[j * width + k]!;
      assert.ok(Math.abs(sum - (i === j ? 1 : 0)) < 0.02, `rows ${i} and ${j}: ${sum}`);
    }
  }
});

test('quantised rows are within half a step, and a row and its opposite round alike', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
      (row) => {
        const both = quantiseRows(Float64Array.from([...row, ...row.map((x) => -x)]), 2, 8);
        const rows = basisFloats(both);
        const step = 2 ** both.exponent;
        for (let k = 0; k < 8; k++) {
          assert.ok(Math.abs(rows[k]! - row[k]!) <= step / 2 + 1e-300);
          assert.equal(rows[k]! + rows[8 + k]!, 0);
        }
      },
    ),
  );
});

test('epochs take rows one after the other', () => {
  const site = randomBasis(1, 'x', 32, 6);
  const rows = [basisSlice(site, 2, 2), basisSlice(site, 4, 2)].flatMap((slice) => [...basisFloats(slice)]);
  assert.deepEqual(rows, [...basisFloats(site).subarray(64)]);
});

test('seeds and sites give different random bases, the same ones the same', () => {
  assert.deepEqual(randomBasis(1, 'a', 16, 2), randomBasis(1, 'a', 16, 2));
  assert.notDeepEqual(randomBasis(1, 'a', 16, 2).values, randomBasis(1, 'b', 16, 2).values);
  assert.notDeepEqual(randomBasis(1, 'a', 16, 2).values, randomBasis(2, 'a', 16, 2).values);
});
