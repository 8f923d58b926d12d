import { createHash } from 'node:crypto';
import { sign } from '../direction/rademacher.ts';
import { hashWords } from '../direction/seed.ts';
import { orthonormalise } from './eigen.ts';

/**
 * The fixed rows V of `W + C V`, per site (the matrices of a layer that share their input share their V). Numbers are
 * int8 times one power of two, so that V is small to send, exact in 32-bit floats, and the same everywhere.
 */
export interface SiteBasis {
  /** Width of the matrices' input. */
  readonly width: number;
  /** Rows there are; epoch e of a stage of rank k uses rows e * k to (e + 1) * k - 1. */
  readonly rows: number;
  /** [rows, width] */
  readonly values: Int8Array;
  /** V = values * 2 ** exponent. */
  readonly exponent: number;
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

/** Some rows of a basis, where they lie. */
export function basisSlice(basis: SiteBasis, from: number, count: number): SiteBasis {
  const { width, values, exponent } = basis;
  return { width, rows: count, values: values.subarray(from * width, (from + count) * width), exponent };
}

/** V as 32-bit floats, exactly: [rows, width]. */
export function basisFloats({ values, exponent }: SiteBasis): Float32Array {
  const scale = 2 ** exponent;
  return Float32Array.from(values, (v) => v * scale);
}

/** Smallest and largest exponent of the scale: rows of unit length need no more. */
export const MIN_EXPONENT = -60;
export const MAX_EXPONENT = 0;

/** Rounds rows of at most unit length to int8 on the smallest power of two that holds the largest number. */
export function quantiseRows(vectors: Float64Array, rows: number, width: number): SiteBasis {
  let largest = 0;
  for (const x of vectors) largest = Math.max(largest, Math.abs(x));
  let exponent = MAX_EXPONENT;
  while (exponent > MIN_EXPONENT && largest <= 127 * 2 ** (exponent - 1)) exponent--;
  // Half away from zero, so that v and -v round alike.
  const values = Int8Array.from(vectors, (x) => {
    return Math.min(127, Math.floor(Math.abs(x) / 2 ** exponent + 0.5)) * (x < 0 ? -1 : 1);
  });
  return { width, rows, values, exponent };
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
