import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cosine, mergeProduct, type Product, productFits, productMax } from '../../worker/grid/doubles.ts';

test('the cosine is within 3e-16 of the built-in one', () => {
  fc.assert(
    fc.property(fc.double({ min: -1e5, max: 1e5, noNaN: true }), (x) => {
      assert.ok(Math.abs(cosine(x) - Math.cos(x)) <= 3e-16, `${x}: ${cosine(x) - Math.cos(x)}`);
    }),
    { numRuns: 5000 },
  );
  for (let i = 0; i <= 10_000; i++) {
    const x = (Math.PI * i) / 10_000;
    assert.ok(Math.abs(cosine(x) - Math.cos(x)) <= 3e-16);
  }
  assert.equal(cosine(0), 1);
  assert.equal(cosine(Math.PI), -1);
  assert.throws(() => cosine(1e6), RangeError);
  assert.throws(() => cosine(Number.NaN), RangeError);
});

/** W + C V in whole numbers of quanta, halves to even, in arbitrary precision. */
function plainMerge(p: Product): bigint[] {
  const shift = p.exponentC + p.exponentV - p.exponentW;
  const result: bigint[] = [];
  for (let o = 0; o < p.out; o++)
    for (let i = 0; i < p.in; i++) {
      let sum = 0n;
      for (let r = 0; r < p.rank; r++)
        sum += BigInt(p.c[o * p.rank + r]! / 2 ** p.exponentC) * BigInt(p.v[r * p.in + i]!);
      let rounded: bigint;
      if (shift >= 0) rounded = sum << BigInt(shift);
      else {
        const divisor = 1n << BigInt(-shift);
        const magnitude = sum < 0n ? -sum : sum;
        const quotient = magnitude / divisor;
        const twice = 2n * (magnitude % divisor);
        const up = twice > divisor || (twice === divisor && quotient % 2n === 1n) ? 1n : 0n;
        rounded = sum < 0n ? -(quotient + up) : quotient + up;
      }
      result.push(BigInt(p.w[o * p.in + i]! / 2 ** p.exponentW) + rounded);
    }
  return result;
}

const dimension = fc.integer({ min: 1, max: 5 });
const products = fc
  .record({ out: dimension, rank: dimension, in: dimension, shift: fc.integer({ min: -12, max: 1 }) })
  .chain(({ out, rank, in: inputs, shift }) => {
    const numbers = (length: number, limit: number) =>
      fc.array(fc.integer({ min: -limit, max: limit }), { minLength: length, maxLength: length });
    return fc.record({
      w: numbers(out * inputs, 2 ** 23).map((a) => Float32Array.from(a, (n) => n * 2 ** -20 + 0)),
      exponentW: fc.constant(-20),
      c: numbers(out * rank, 2 ** 12).map((a) => Float32Array.from(a, (n) => n * 2 ** -22 + 0)),
      exponentC: fc.constant(-22),
      v: numbers(rank * inputs, 127).map((a) => Int8Array.from(a)),
      exponentV: fc.constant(shift + 2),
      out: fc.constant(out),
      rank: fc.constant(rank),
      in: fc.constant(inputs),
    });
  });

function transpose(w: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(w, (_, i) => w[(i % rows) * columns + Math.floor(i / rows)]!);
}

test('a merge is exact: whole quanta, halves to even, whatever the order of storage', () => {
  fc.assert(
    fc.property(products, (product) => {
      const expected = plainMerge(product).map(Number);
      const w = product.w.slice();
      const max = mergeProduct({ ...product, w });
      assert.deepEqual(
        [...w].map((x) => x * 2 ** 20),
        expected,
      );
      assert.equal(max, Math.max(...expected.map(Math.abs)));
      assert.equal(productMax(product), max);
      const t = transpose(product.w, product.out, product.in);
      mergeProduct({ ...product, w: t, transposed: true });
      assert.deepEqual(t, transpose(w, product.out, product.in));
    }),
  );
});

test('what leaves the exact range is known before the merge, for factors and wide rows too', () => {
  const wide = fc.record({
    v: fc.array(fc.integer({ min: -(2 ** 23), max: 2 ** 23 }), { minLength: 2, maxLength: 2 }),
    factor: fc.constantFrom(0.25, 1, 2, 3),
    exponentV: fc.integer({ min: -24, max: 4 }),
    c: fc.integer({ min: -(2 ** 10), max: 2 ** 10 }),
  });
  fc.assert(
    fc.property(wide, ({ v, factor, exponentV, c }) => {
      const w = Float32Array.of(2 ** 22, -5);
      const product = { w, exponentW: 0, c: Float32Array.of(c), exponentC: 0, v: Float64Array.from(v) };
      const whole = { ...product, exponentV, factor, out: 1, rank: 1, in: 2 };
      assert.equal(productFits(whole), productMax(whole) <= 2 ** 24);
      if (productFits(whole)) assert.equal(mergeProduct(whole), Math.max(...w.map(Math.abs)));
      else assert.throws(() => mergeProduct(whole), { code: 'INTERNAL' });
    }),
  );
});

test('merging the negative gives the old bits back', () => {
  fc.assert(
    fc.property(products, (product) => {
      const w = product.w.slice();
      mergeProduct({ ...product, w });
      mergeProduct({ ...product, w, c: product.c.map((x) => -x) });
      assert.deepEqual(w, product.w);
    }),
  );
});

test('a merge that would leave the exact range is refused and changes nothing', () => {
  const w = Float32Array.of(1, 2 ** 24);
  const product = {
    w,
    exponentW: 0,
    c: Float32Array.of(1),
    exponentC: 0,
    v: Int8Array.of(1, 1),
    exponentV: 0,
  };
  assert.equal(productFits({ ...product, out: 1, rank: 1, in: 2 }), false);
  assert.throws(() => mergeProduct({ ...product, out: 1, rank: 1, in: 2 }), { code: 'INTERNAL' });
  assert.deepEqual(w, Float32Array.of(1, 2 ** 24));
  assert.throws(() => mergeProduct({ ...product, out: 2, rank: 1, in: 2 }), { code: 'INTERNAL' });
});
