/** From loss sums to what a worker publishes. Pure. */

export interface Estimate {
  /** Projected gradients in probe order; NaN: abstain. */
  readonly values: Float64Array;
  /** Sum of per-example losses at the centre (one-sided), or over both signs and all probes on average (two-sided). */
  readonly lossSum: number;
}

/**
 * Two-point estimates (L(theta + r z) - L(theta - r z)) / 2r (Spall 1992; MeZO, arXiv 2305.17333), L the mean over the
 * batch.
 * @param plus sums of per-example losses at theta + r z_p, one per probe; `minus` likewise
 */
export function twoSided(plus: Float64Array, minus: Float64Array, count: number, radius: number): Estimate {
  const values = plus.map((loss, p) => finite((loss - minus[p]!) / count / (2 * radius)));
  let sum = 0;
  for (let p = 0; p < plus.length; p++) sum += (plus[p]! + minus[p]!) / 2;
  return { values, lossSum: plus.length === 0 ? 0 : sum / plus.length };
}

/** One-sided estimates (L(theta + r z) - L(theta)) / r: all probes share the centre. */
export function oneSided(centre: number, plus: Float64Array, count: number, radius: number): Estimate {
  return { values: plus.map((loss) => finite((loss - centre) / count / radius)), lossSum: centre };
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : Number.NaN;
}

/** Coefficient of a radius on a tensor's grid: the nearest whole number of quanta, at least one. */
export function radiusQuanta(radius: number, exponent: number): number {
  return Math.max(1, Math.floor(radius * 2 ** -exponent + 0.5));
}
