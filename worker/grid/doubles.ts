import { OnebyteError } from '../errors.ts';
import { EXACT_QUANTA, powerOfTwo, roundHalfEven } from './quantum.ts';

/**
 * Arithmetic on replicated state that is no plain addition, in doubles, using only what IEEE 754 fixes bit for bit.
 */

/** pi / 2 as a sum: 33 bits, so that small multiples are exact, and the rest. */
const HALF_PI = [1.5707963267341256, 6.077100506506192e-11] as const;
/** Minimax coefficients of sin(x) / x - 1 and cos(x) - 1 + x^2 / 2 on [-pi/4, pi/4], from fdlibm (k_sin.c, k_cos.c). */
const SIN = [
  1.58969099521155e-10, -2.5050760253406863e-8, 2.7557313707070068e-6, -0.0001984126982985795,
  0.00833333333332249, -0.16666666666666632,
] as const;
const COS = [
  -1.1359647557788195e-11, 2.087572321298175e-9, -2.7557314351390663e-7, 2.480158728947673e-5,
  -0.001388888888887411, 0.0416666666666666,
] as const;

function horner(coefficients: readonly number[], z: number): number {
  return coefficients.reduce((sum, c) => sum * z + c, 0);
}

/**
 * cos x, the same bits on every machine; within 3e-16 of the true value for |x| <= 1e5.
 * @throws RangeError beyond that
 */
export function cosine(x: number): number {
  if (!(Math.abs(x) <= 1e5)) throw new RangeError(`cosine of ${x}`);
  const n = roundHalfEven(x / HALF_PI[0]);
  const y = x - n * HALF_PI[0] - n * HALF_PI[1];
  const z = y * y;
  const sin = y + y * z * horner(SIN, z);
  const cos = 1 - (0.5 * z - z * z * horner(COS, z));
  switch (((n % 4) + 4) % 4) {
    case 0:
      return cos;
    case 1:
      return -sin;
    case 2:
      return -cos;
    default:
      return sin;
  }
}

/** W [out, in] += C [out, rank] V [rank, in], all on power-of-two grids. */
export interface Product {
  readonly w: Float32Array;
  readonly exponentW: number;
  readonly c: Float32Array;
  readonly exponentC: number;
  /** Whole numbers up to 2 ** 23; V = v * 2 ** exponentV. */
  readonly v: Int8Array | Float64Array;
  readonly exponentV: number;
  /** Factor on the product, 1 by default. */
  readonly factor?: number;
  readonly out: number;
  readonly rank: number;
  readonly in: number;
  /** w is stored [in, out]. */
  readonly transposed?: boolean;
}

/**
 * Each row of W + round-half-even(C V / q_W), in quanta of W, into `visit` (a buffer that is used again).
 * Sums are exact while rank |c| |v| < 2**53: always, for the |v| <= 2**7 of a basis, and up to rank 64 for |v| <= 2**23.
 */
function mergedRows(p: Product, visit: (row: number, quanta: Float64Array) => void): void {
  if (p.w.length !== p.out * p.in || p.c.length !== p.out * p.rank || p.v.length !== p.rank * p.in)
    throw new OnebyteError('INTERNAL', 'product of mismatched shapes');
  const inverseW = powerOfTwo(-p.exponentW);
  const inverseC = powerOfTwo(-p.exponentC);
  const scale = powerOfTwo(p.exponentC + p.exponentV - p.exponentW) * (p.factor ?? 1);
  const row = new Float64Array(p.in);
  for (let o = 0; o < p.out; o++) {
    row.fill(0);
    for (let r = 0; r < p.rank; r++) {
      const c = p.c[o * p.rank + r]! * inverseC;
      if (c === 0) continue;
      const start = r * p.in;
      for (let i = 0; i < row.length; i++) row[i]! += c * p.v[start + i]!;
    }
    const [start, stride] = p.transposed ? [o, p.out] : [o * p.in, 1];
    for (let i = 0; i < row.length; i++)
      row[i] = p.w[start + i * stride]! * inverseW + roundHalfEven(row[i]! * scale);
    visit(o, row);
  }
}

/** At least `productMax`, for a fraction of its time: by the largest entry of each column of C. */
function productBound(p: Product): number {
  let w = 0;
  for (const value of p.w) w = Math.max(w, Math.abs(value));
  const columns = new Float64Array(p.rank);
  p.c.forEach((value, i) => {
    columns[i % p.rank] = Math.max(columns[i % p.rank]!, Math.abs(value));
  });
  let v = 0;
  for (const value of p.v) v = Math.max(v, Math.abs(value));
  const factor = Math.abs(p.factor ?? 1) * powerOfTwo(p.exponentV);
  const moved = columns.reduce((sum, c) => sum + c, 0) * v * factor;
  return (w + moved) * powerOfTwo(-p.exponentW) * 1.000001 + 1;
}

/** Largest |W + C V| after the merge, in quanta of W, without changing anything. */
export function productMax(product: Product): number {
  let max = 0;
  mergedRows(product, (_, quanta) => {
    for (const n of quanta) max = Math.max(max, Math.abs(n));
  });
  return max;
}

/** Whether every result stays within the 2**24 quanta that are exact; where not, coarsen w before merging. */
export function productFits(product: Product): boolean {
  return productBound(product) <= EXACT_QUANTA || productMax(product) <= EXACT_QUANTA;
}

/**
 * Merges the product into `w` in place: every element becomes w + round-half-even(C V / q_W) q_W, exactly. Merging
 * with -C afterwards gives the old bits.
 * @returns the largest result, in quanta: call `settle` of w's store
 * @throws OnebyteError INTERNAL when a result is beyond 2**24 quanta, and then leaves w as it was (see
 *   `productFits`)
 */
export function mergeProduct(product: Product): number {
  const { w, out, transposed } = product;
  const quantum = powerOfTwo(product.exponentW);
  if (!productFits(product)) throw new OnebyteError('INTERNAL', 'a merge leaves the grid of its weights');
  let max = 0;
  mergedRows(product, (o, quanta) => {
    const [start, stride] = transposed ? [o, out] : [o * product.in, 1];
    for (let i = 0; i < quanta.length; i++) {
      w[start + i * stride] = quanta[i]! * quantum;
      max = Math.max(max, Math.abs(quanta[i]!));
    }
  });
  return max;
}
