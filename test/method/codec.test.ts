import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { codec, encodeAll, LOG8_MIN } from '../../worker/method/codec.ts';

const log8 = codec('log8');
const sign1 = codec('sign1');

/** Relative root mean square error of one trip through a codec. */
function relativeError(values: number[]): number {
  let error = 0;
  let power = 0;
  for (const value of values) {
    error += (log8.values[log8.encode(value)]! - value) ** 2;
    power += value ** 2;
  }
  return Math.sqrt(error / power);
}

/** A seeded standard normal sequence; only its statistics matter here. */
function normals(count: number): number[] {
  let state = 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 4294967296;
  };
  return Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

test('every byte that log8 decodes encodes back to itself', () => {
  for (let byte = 1; byte < 256; byte++) assert.equal(log8.encode(log8.values[byte]!), byte);
});

test('log8 reaches from 1e-3 to 1e4 and keeps the sign of what is smaller or larger', () => {
  assert.equal(log8.values[1], LOG8_MIN);
  assert.ok(Math.abs(log8.values[127]! / 1e4 - 1) < 1e-12);
  assert.equal(log8.values[log8.encode(-1e-30)], -LOG8_MIN);
  assert.equal(log8.encode(1e30), 127);
  assert.equal(log8.values[log8.encode(-0)], 0);
});

test('NaN and infinities abstain in every codec, and an abstaining byte decodes to NaN', () => {
  for (const { encode, values } of [log8, sign1])
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      assert.equal(encode(value), 0);
      assert.ok(Number.isNaN(values[0]!));
    }
});

test('log8 is monotonic and within half a step over its range', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-3, max: 1e4, noNaN: true }), (value) => {
      const decoded = log8.values[log8.encode(value)]!;
      assert.ok(Math.abs(Math.log(decoded / value)) <= Math.log(1.1364636663857248) / 2 + 1e-9);
      assert.equal(log8.values[log8.encode(-value)], -decoded);
    }),
  );
});

test('log8 has the same error for small, large and heavy-tailed inputs', () => {
  const normal = normals(200_000);
  for (const scale of [1, 30, 1000])
    assert.ok(Math.abs(relativeError(normal.map((x) => x * scale)) - 0.037) < 0.002);
  // Student t with 3 degrees of freedom.
  const t3 = normal.slice(0, 50_000).map((x, i) => {
    const [a, b, c] = [normal[50_000 + i]!, normal[100_000 + i]!, normal[150_000 + i]!];
    return x / Math.sqrt((a * a + b * b + c * c) / 3);
  });
  assert.ok(Math.abs(relativeError(t3) - 0.037) < 0.003);
  assert.ok(relativeError(normal.map((x) => x * 0.05)) < 0.04);
});

test('log8 turns inputs below its range into their signs', () => {
  const tiny = normals(10_000).map((x) => x * 1e-6);
  for (const value of tiny) assert.equal(log8.values[log8.encode(value)], Math.sign(value) * LOG8_MIN);
});

test('sign1 carries the sign alone', () => {
  assert.deepEqual([...encodeAll('sign1', Float64Array.of(3, -0.1, 0, Number.NaN))], [0x01, 0x81, 0, 0]);
  assert.equal(sign1.values[0x01], 1);
  assert.equal(sign1.values[0x81], -1);
});
