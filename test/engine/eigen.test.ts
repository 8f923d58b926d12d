import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { jacobi, leadingEigenvectors, orthonormalise } from '../../worker/engine/eigen.ts';

const signs = (seed: number, size: number) => {
  let x = seed | 1;
  return Float64Array.from({ length: size }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x < 0 ? -1 : 1;
  });
};

/** Q^T diag(values) Q of a random orthogonal Q. */
function withSpectrum(values: readonly number[], seed: number): { matrix: Float64Array; q: Float64Array } {
  const n = values.length;
  const q = signs(seed, n * n).map((s, i) => s + Math.sin(i + seed));
  orthonormalise(q, n, n);
  const matrix = new Float64Array(n * n);
  for (const [k, value] of values.entries()) {
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) matrix[i * n + j]! += value * q[k * n + i]! * q[k * n + j]!;
  }
  return { matrix, q };
}

const nearly = (a: number, b: number, tolerance: number) =>
  assert.ok(Math.abs(a - b) <= tolerance, `${a} against ${b}`);

function assertOrthonormal(rows: Float64Array, count: number, n: number) {
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += rows[i * n + k]! * rows[j * n + k]!;
      nearly(sum, i === j ? 1 : 0, 1e-12);
    }
  }
}

test('rows come out orthonormal, also where they depend on each other', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 24, maxLength: 24 }), (values) => {
      const rows = Float64Array.from(values);
      orthonormalise(rows, 4, 6);
      assertOrthonormal(rows, 4, 6);
    }),
  );
});

test('Jacobi rotations find the spectrum of a small matrix', () => {
  const values = [9, 4, 4, 1, 0.5, 0];
  const { matrix } = withSpectrum(values, 3);
  const found = jacobi(matrix, 6);
  for (const [i, value] of values.entries()) nearly(found.values[i]!, value, 1e-12);
  assertOrthonormal(found.vectors, 6, 6);
});

test('orthogonal iteration finds the leading eigenvectors', () => {
  const values = Array.from({ length: 60 }, (_, i) => 100 * 0.7 ** i);
  const { matrix, q } = withSpectrum(values, 5);
  const found = leadingEigenvectors(matrix, 60, 6, signs(9, 14 * 60));
  assertOrthonormal(found.vectors, 6, 60);
  for (let k = 0; k < 6; k++) {
    nearly(found.values[k]!, values[k]!, 1e-4 * values[k]!);
    let along = 0;
    for (let i = 0; i < 60; i++) along += found.vectors[k * 60 + i]! * q[k * 60 + i]!;
    nearly(Math.abs(along), 1, 1e-4);
  }
});

test('more vectors than the matrix has rank are still orthonormal', () => {
  const { matrix } = withSpectrum([5, 2, 0, 0, 0, 0, 0, 0], 7);
  const found = leadingEigenvectors(matrix, 8, 8, signs(2, 64));
  assertOrthonormal(found.vectors, 8, 8);
  nearly(found.values[0]!, 5, 1e-9);
});

test('the same moments give the same bits', () => {
  const { matrix } = withSpectrum([5, 2, 1, 0.3], 7);
  const run = () => leadingEigenvectors(matrix, 4, 2, signs(2, 16)).vectors;
  assert.deepEqual(run(), run());
});
