import type { Contributions } from '../grid/contribution.ts';
import type { TensorStore } from '../grid/store.ts';
import type { Direction } from './update.ts';

/**
 * Rounds of a seed pool taken together: theta_0 + sum_j A_j z_j needs each candidate's direction once, so catching up
 * costs O(K) passes over the state however many rounds there were (FedKSeed, arXiv 2312.06353). Exact, because
 * contributions commute; refuses rounds that, together, might coarsen a tensor.
 */
export class PoolMerge {
  readonly #store: TensorStore;
  #tensors: readonly number[] = [];
  /** Of each candidate that took part: its seed, and A_j of each tensor. */
  #sums = new Map<number, { seed: Uint32Array; coefficients: Int32Array }>();
  /** Of each tensor, the sum of |coefficient| over all that was taken. */
  #movement = new Int32Array(0);

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** Takes one round in. @returns false, and takes nothing, where it cannot be merged with what is held */
  take(directions: readonly Direction[], round: Contributions): boolean {
    if (this.#sums.size === 0) {
      this.#tensors = round.tensors;
      this.#movement = new Int32Array(round.tensors.length);
    } else if (round.tensors !== this.#tensors) return false;
    const width = this.#tensors.length;
    const movement = Float64Array.from(this.#movement);
    for (const [i, coefficient] of round.coefficients.entries())
      movement[i % width]! += Math.abs(coefficient);
    // Beyond an Int32 nothing fits anyway.
    if (movement.some((sum) => sum > 2 ** 30)) return false;
    const coefficients = Int32Array.from(movement);
    if (!this.#store.fits({ count: 1, seeds: new Uint32Array(4), tensors: this.#tensors, coefficients }))
      return false;
    this.#movement = coefficients;
    for (const [k, { candidate, seed }] of directions.entries()) {
      let sum = this.#sums.get(candidate);
      if (sum === undefined) this.#sums.set(candidate, (sum = { seed, coefficients: new Int32Array(width) }));
      for (let t = 0; t < width; t++) sum.coefficients[t]! += round.coefficients[k * width + t]!;
    }
    return true;
  }

  /** Adds everything held to the state. */
  flush(): void {
    const held = [...this.#sums.values()];
    this.#sums = new Map();
    if (held.length === 0) return;
    const width = this.#tensors.length;
    const seeds = new Uint32Array(held.length * 4);
    const coefficients = new Int32Array(held.length * width);
    held.forEach((sum, k) => {
      seeds.set(sum.seed, k * 4);
      coefficients.set(sum.coefficients, k * width);
    });
    this.#store.add({ count: held.length, seeds, tensors: this.#tensors, coefficients });
  }
}
