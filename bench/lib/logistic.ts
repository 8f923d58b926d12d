/** A logistic probe: what a classifier's head on frozen features can reach. Newton's method on the exact objective. */

export interface Probe {
  /** [width], then the bias. */
  readonly weights: Float64Array;
}

export interface Features {
  /** [rows, width], row by row. */
  readonly values: Float32Array;
  readonly width: number;
  /** 0 or 1. */
  readonly labels: ArrayLike<number>;
}

/** Minimises mean log loss + l2 / 2 |w|^2 (the bias is free). Stops when the step is below 1e-8. */
export function fitLogistic(data: Features, l2: number): Probe {
  const { width, values, labels } = data;
  const rows = labels.length;
  const n = width + 1;
  const weights = new Float64Array(n);
  for (let iteration = 0; iteration < 50; iteration++) {
    const gradient = new Float64Array(n);
    const hessian = new Float64Array(n * n);
    const x = new Float64Array(n).fill(1);
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) x[i] = values[row * width + i]!;
      let score = 0;
      for (let i = 0; i < n; i++) score += weights[i]! * x[i]!;
      const p = 1 / (1 + Math.exp(-score));
      const slope = (p - labels[row]!) / rows;
      const curvature = Math.max(1e-12, p * (1 - p)) / rows;
      for (let i = 0; i < n; i++) {
        gradient[i]! += slope * x[i]!;
        const scaled = curvature * x[i]!;
        const at = i * n;
        for (let j = 0; j <= i; j++) hessian[at + j]! += scaled * x[j]!;
      }
    }
    for (let i = 0; i < width; i++) {
      gradient[i]! += l2 * weights[i]!;
      hessian[i * n + i]! += l2;
    }
    hessian[n * n - 1]! += 1e-9;
    const step = solve(hessian, gradient, n);
    let largest = 0;
    for (let i = 0; i < n; i++) {
      weights[i]! -= step[i]!;
      largest = Math.max(largest, Math.abs(step[i]!));
    }
    if (largest < 1e-8) break;
  }
  return { weights };
}

export function scoreLogistic(probe: Probe, data: Features): { loss: number; accuracy: number } {
  const { width, values, labels } = data;
  let [loss, correct] = [0, 0];
  for (let row = 0; row < labels.length; row++) {
    let score = probe.weights[width]!;
    for (let i = 0; i < width; i++) score += probe.weights[i]! * values[row * width + i]!;
    const margin = labels[row] === 1 ? score : -score;
    loss += margin > 0 ? Math.log1p(Math.exp(-margin)) : -margin + Math.log1p(Math.exp(margin));
    if (margin > 0) correct++;
  }
  return { loss: loss / labels.length, accuracy: correct / labels.length };
}

/** The probe whose penalty does best on the validation rows. */
export function chooseLogistic(train: Features, validation: Features, penalties: readonly number[]) {
  const tried = penalties.map((l2) => {
    const probe = fitLogistic(train, l2);
    return { l2, probe, validation: scoreLogistic(probe, validation) };
  });
  return tried.reduce((best, one) => (one.validation.loss < best.validation.loss ? one : best));
}

/** Solves the symmetric positive definite system whose lower half is given, by Cholesky's factors. */
function solve(lower: Float64Array, right: Float64Array, n: number): Float64Array {
  const l = lower;
  for (let j = 0; j < n; j++) {
    for (let k = 0; k < j; k++) l[j * n + j]! -= l[j * n + k]! ** 2;
    l[j * n + j] = Math.sqrt(l[j * n + j]!);
    for (let i = j + 1; i < n; i++) {
      let sum = l[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j] = sum / l[j * n + j]!;
    }
  }
  const x = Float64Array.from(right);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= l[i * n + k]! * x[k]!;
    x[i]! /= l[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i]! -= l[k * n + i]! * x[k]!;
    x[i]! /= l[i * n + i]!;
  }
  return x;
}
