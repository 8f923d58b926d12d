import { createHash } from 'node:crypto';
import { sign } from '../direction/rademacher.ts';
import { hashWords } from '../direction/seed.ts';
import { orthonormalise } from './eigen.ts';

/**
 * The fixed rows V of `W + C V`, per site (the matrices of a layer that share their input share their V). Numbers are
 * int8 times a power of two of each row, so that V is small to send, exact in 32-bit floats, and the same everywhere.
 */
export interface SiteBasis {
  /** Width of the matrices' input. */
  readonly width: number;
  /** Rows there are; epoch e of a stage of rank k uses rows e * k to (e + 1) * k - 1. */
  readonly rows: number;
  /** [rows, width] */
  readonly values: Int8Array;
  /** [rows]: row i is values * 2 ** exponents[i]. */
  readonly exponents: Int8Array;
}

/** By site name, `siteName(layer, matrix kind)`. */
export type Basis = ReadonlyMap<string, SiteBasis>;

/** Query, key and value of a layer read the same input. */
export function siteName(layer: number, kind: string): string {
  return `${layer}.${kind === 'query' || kind === 'key' || kind === 'value' ? 'attention' : kind}`;
}

export function basisDigest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** V of some rows, as 32-bit floats (exact): [count, width]. */
export function basisRows(basis: SiteBasis, from: number, count: number): Float32Array {
  const { width, values, exponents } = basis;
  const rows = new Float32Array(count * width);
  for (let i = 0; i < count; i++) {
    const scale = 2 ** exponents[from + i]!;
    for (let j = 0; j < width; j++) rows[i * width + j] = values[(from + i) * width + j]! * scale;
  }
  return rows;
}

/** Smallest and largest exponent of a row's scale: far beyond what rows of unit length need. */
export const MIN_EXPONENT = -60;
export const MAX_EXPONENT = 0;

/** Rounds unit rows to int8 on the smallest power of two that holds the row's largest number. */
export function quantiseRows(vectors: Float64Array, rows: number, width: number): SiteBasis {
  const values = new Int8Array(rows * width);
  const exponents = new Int8Array(rows);
  for (let i = 0; i < rows; i++) {
    const row = vectors.subarray(i * width, (i + 1) * width);
    let largest = 0;
    for (const x of row) largest = Math.max(largest, Math.abs(x));
    let exponent = MAX_EXPONENT;
    while (exponent > MIN_EXPONENT && largest <= 127 * 2 ** (exponent - 1)) exponent--;
    exponents[i] = exponent;
    // Half away from zero, so that v and -v round alike.
    for (const [j, x] of row.entries()) {
      const rounded = Math.floor(Math.abs(x) / 2 ** exponent + 0.5);
      values[i * width + j] = Math.min(127, rounded) * (x < 0 ? -1 : 1);
    }
  }
  return { width, rows, values, exponents };
}

/**
 * Random orthonormal rows, a function of the seed and the site: Rademacher signs made orthonormal in doubles. No
 * artifact needed; for comparison with the activation basis.
 * @throws RangeError when more rows are asked for than the site is wide
 */
export function randomBasis(seed: number, site: string, width: number, rows: number): SiteBasis {
  const words = hashWords('onebyte/basis/1', [seed, new TextEncoder().encode(site)]);
  const vectors = randomSigns(words, rows * width);
  orthonormalise(vectors, rows, width);
  return quantiseRows(vectors, rows, width);
}

/** The first `size` signs of a seed's direction for tensor 0. */
export function randomSigns(words: Uint32Array, size: number): Float64Array {
  return Float64Array.from({ length: size }, (_, i) => sign(words, 0, i));
}
