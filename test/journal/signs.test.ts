import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteReader } from '../../worker/journal/bytes.ts';
import { areSigns, packedLength, packSigns, payloadBytes, readSigns } from '../../worker/journal/signs.ts';
import { codec } from '../../worker/method/codec.ts';
import { signs } from './signs.ts';

/** Plainly: each byte's five digits written out as a number of base 3, the first probe's last. */
function packPlainly(bytes: Uint8Array): number[] {
  const digits = [...bytes].map((byte) => (byte === 0 ? '0' : byte === 1 ? '1' : '2'));
  const packed = [];
  for (let at = 0; at < digits.length; at += 5)
    packed.push(
      Number.parseInt(
        digits
          .slice(at, at + 5)
          .reverse()
          .join(''),
        3,
      ),
    );
  return packed;
}

test('signs come back from a fifth of their bytes', () => {
  fc.assert(
    fc.property(signs(40), (bytes) => {
      const packed = packSigns(bytes);
      assert.deepEqual([...packed], packPlainly(bytes));
      assert.equal(packed.length, packedLength(bytes.length));
      assert.deepEqual(readSigns(new ByteReader(packed), bytes.length), bytes);
    }),
  );
});

test('bytes that pack nothing so are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 8 }), fc.nat(4), (packed, missing) => {
      const read = readSigns(new ByteReader(packed), packed.length * 5 - missing);
      if (read === null)
        assert.ok(packed.some((byte) => byte >= 243) || packed.at(-1)! >= 3 ** (5 - missing));
      else assert.deepEqual(packSigns(read), packed);
    }),
  );
});

test('everything that sign1 writes is packed, and a byte of any size is not', () => {
  const { encode } = codec('sign1');
  fc.assert(
    fc.property(fc.array(fc.double(), { minLength: 1 }), (values) => {
      const bytes = Uint8Array.from(values, encode);
      assert.equal(payloadBytes([bytes]), Math.ceil(values.length / 5));
      assert.equal(payloadBytes([bytes, Uint8Array.of(codec('log8').encode(0.5))]), values.length + 1);
    }),
  );
  assert.equal(areSigns([new Uint8Array(0)]), false);
  assert.equal(payloadBytes([]), 0);
});
