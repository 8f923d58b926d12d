/**
 * Leading eigenvectors of symmetric matrices in doubles, with + - * / and sqrt in a fixed order only: the same input
 * gives the same bits on every machine.
 */

export interface Eigen {
  /** Descending. */
  readonly values: Float64Array;
  /** [count, n], rows orthonormal. */
  readonly vectors: Float64Array;
}

/** Vectors carried beyond those asked for: they speed up the convergence of the last ones. */
export const OVERSAMPLING = 8;
/** Stop when an iteration adds less than this share to the sum of the leading eigenvalues. */
const TOLERANCE = 1e-6;
const MAX_ITERATIONS = 200;

/**
 * Orthogonal iteration with a Rayleigh-Ritz step (Golub and Van Loan, Matrix Computations, 8.2.4).
 * @param matrix [n, n], symmetric and positive semidefinite
 * @param start [>= count, n] rows to start from, such as random signs
 */
export function leadingEigenvectors(
  matrix: Float64Array,
  n: number,
  count: number,
  start: Float64Array,
): Eigen {
  const block = Math.min(n, count + OVERSAMPLING, Math.floor(start.length / n));
  let q: Float64Array = Float64Array.from(start.subarray(0, block * n));
  orthonormalise(q, block, n);
  let before = -1;
  for (let iteration = 0; ; iteration++) {
    const image = times(q, matrix, block, n);
    const ritz = jacobi(inner(q, image, block, n), block);
    const sum = ritz.values.subarray(0, count).reduce((a, b) => a + b, 0);
    if (iteration >= MAX_ITERATIONS || sum - before <= TOLERANCE * sum) {
      const vectors = times(ritz.vectors, q, block, block, n).slice(0, count * n);
      return { values: ritz.values.slice(0, count), vectors };
    }
    before = sum;
    q = times(ritz.vectors, image, block, block, n);
    orthonormalise(q, block, n);
  }
}

/** a [rows, inner] times b [inner, columns]. */
function times(a: Float64Array, b: Float64Array, rows: number, inner: number, columns = inner): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const target = out.subarray(i * columns, (i + 1) * columns);
    // Four rows of b a pass: a quarter of the reads and writes of the target.
    let j = 0;
    for (; j + 4 <= inner; j += 4) {
      const at = i * inner + j;
      const [x0, x1, x2, x3] = [a[at]!, a[at + 1]!, a[at + 2]!, a[at + 3]!];
      const b0 = j * columns;
      const b1 = b0 + columns;
      const b2 = b1 + columns;
      const b3 = b2 + columns;
      for (let k = 0; k < columns; k++) {
        target[k] = target[k]! + x0 * b[b0 + k]! + x1 * b[b1 + k]! + x2 * b[b2 + k]! + x3 * b[b3 + k]!;
      }
    }
    for (; j < inner; j++) {
      const x = a[i * inner + j]!;
      for (let k = 0; k < columns; k++) target[k] = target[k]! + x * b[j * columns + k]!;
    }
  }
  return out;
}

/** a [rows, n] times the transpose of b [rows, n], made symmetric. */
function inner(a: Float64Array, b: Float64Array, rows: number, n: number): Float64Array {
  const out = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) out[i * rows + j] = dot(a, i * n, b, j * n, n);
  }
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < i; j++) {
      const mean = (out[i * rows + j]! + out[j * rows + i]!) / 2;
      out[i * rows + j] = mean;
      out[j * rows + i] = mean;
    }
  }
  return out;
}

function dot(a: Float64Array, from: number, b: Float64Array, at: number, n: number): number {
  let sum = 0;
  for (let k = 0; k < n; k++) sum += a[from + k]! * b[at + k]!;
  return sum;
}

/**
 * Makes rows orthonormal in place by modified Gram-Schmidt, twice over each row ("twice is enough", Kahan and
 * Parlett). A row that the earlier ones span is replaced by what is left of the first unit vector that they do not.
 */
export function orthonormalise(rows: Float64Array, count: number, n: number): void {
  for (let i = 0; i < count; i++) {
    let unit = 0;
    while (!normaliseAgainst(rows, i, n)) {
      if (unit === n) throw new RangeError(`${count} rows of ${n} numbers cannot be made orthonormal`);
      rows.fill(0, i * n, (i + 1) * n);
      rows[i * n + unit++] = 1;
    }
  }
}

function normaliseAgainst(rows: Float64Array, i: number, n: number): boolean {
  const start = Math.sqrt(dot(rows, i * n, rows, i * n, n));
  for (let pass = 0; pass < 2; pass++) {
    for (let j = 0; j < i; j++) {
      const along = dot(rows, i * n, rows, j * n, n);
      for (let k = 0; k < n; k++) rows[i * n + k] = rows[i * n + k]! - along * rows[j * n + k]!;
    }
  }
  const norm = Math.sqrt(dot(rows, i * n, rows, i * n, n));
  if (!(norm > 1e-10 * start)) return false;
  for (let k = 0; k < n; k++) rows[i * n + k] = rows[i * n + k]! / norm;
  return true;
}

/** All eigenvalues and vectors of a small symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, 8.5). */
export function jacobi(matrix: Float64Array, n: number): Eigen {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(n * n);
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  const scale = a.reduce((sum, x) => sum + x * x, 0);
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += a[i * n + j]! * a[i * n + j]!;
    if (off <= 1e-28 * scale) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q);
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[j * n + j]! - a[i * n + i]! || i - j);
  const vectors = new Float64Array(n * n);
  for (const [to, from] of order.entries()) vectors.set(v.subarray(from * n, (from + 1) * n), to * n);
  return { values: Float64Array.from(order, (i) => a[i * n + i]!), vectors };
}

/** One rotation that makes a[p, q] zero. Rows of `v` are the vectors. */
function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q]!;
  if (apq === 0) return;
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const akp = a[k * n + p]!;
    const akq = a[k * n + q]!;
    a[k * n + p] = c * akp - s * akq;
    a[k * n + q] = s * akp + c * akq;
  }
  for (let k = 0; k < n; k++) {
    const apk = a[p * n + k]!;
    const aqk = a[q * n + k]!;
    a[p * n + k] = c * apk - s * aqk;
    a[q * n + k] = s * apk + c * aqk;
    const vp = v[p * n + k]!;
    const vq = v[q * n + k]!;
    v[p * n + k] = c * vp - s * vq;
    v[q * n + k] = s * vp + c * vq;
  }
}
