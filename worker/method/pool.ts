/**
 * FedKSeed (arXiv 2312.06353): directions come from K candidate seeds, so that the state is
 * theta_0 + sum_j A_j z_j whatever the length of the run, and a newcomer catches up in O(K).
 */

/** Magnitudes at which FedKSeed-Pro clips what it remembers of a seed. */
const HISTORY_CLIP = 1000;

/** What every replica remembers of each candidate's projected gradients. */
export interface PoolHistory {
  readonly count: Float64Array;
  readonly magnitude: Float64Array;
}

export function emptyHistory(candidates: number): PoolHistory {
  return { count: new Float64Array(candidates), magnitude: new Float64Array(candidates) };
}

/** Adds (or, with `direction` -1, takes back) one value of a candidate. Mutates. */
export function remember(
  history: PoolHistory,
  candidate: number,
  value: number,
  direction: 1 | -1 = 1,
): void {
  history.count[candidate]! += direction;
  // Rounded to a grid, so that adding and taking back is exact.
  history.magnitude[candidate]! +=
    direction * (Math.round(Math.min(Math.abs(value), HISTORY_CLIP) * 65536) / 65536);
}

/**
 * Cumulative probabilities of the candidates: uniform, or FedKSeed-Pro's softmax over the min-max normalised mean
 * magnitudes (its server's calculate_probabilities), in which the most likely candidate is at most e times as likely
 * as the least.
 */
export function drawTable(history: PoolHistory, draw: 'uniform' | 'differentiated'): Float64Array {
  const k = history.count.length;
  const table = new Float64Array(k);
  // The histories start as [0], as in the published code, so that a candidate never drawn has magnitude 0.
  const mean = (j: number) => history.magnitude[j]! / (history.count[j]! + 1);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  if (draw === 'differentiated') {
    for (let j = 0; j < k; j++) {
      low = Math.min(low, mean(j));
      high = Math.max(high, mean(j));
    }
  }
  let total = 0;
  for (let j = 0; j < k; j++) {
    total += draw === 'uniform' ? 1 : exponential((mean(j) - low) / (high - low + 1e-10));
    table[j] = total;
  }
  return table;
}

/** The candidate that a uniform number in [0, 1) falls on. */
export function drawCandidate(table: Float64Array, uniform: number): number {
  const target = uniform * table[table.length - 1]!;
  let low = 0;
  let high = table.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (table[middle]! > target) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** e ** x for x in [0, 1] by its series, in a fixed order of IEEE operations; relative error below 1e-15. */
export function exponential(x: number): number {
  let sum = 1;
  for (let i = 20; i >= 1; i--) sum = 1 + (x / i) * sum;
  return sum;
}
