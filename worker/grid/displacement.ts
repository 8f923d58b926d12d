import { OnebyteError } from '../errors.ts';
import { LIMIT_QUANTA } from './quantum.ts';

/** One direction added to some tensors in place, in whole quanta: coefficients[i] belongs to tensors[i]. */
export interface Perturbation {
  readonly tensors: readonly number[];
  /** Four words. */
  readonly seed: Uint32Array;
  readonly coefficients: Int32Array;
}

/**
 * How far a state is from its committed values because of a probe under way: several steps along one direction. Keeps
 * everybody honest: nothing is committed, digested or saved unless the way back has been gone exactly.
 */
export class Displacement {
  #seed = new Uint32Array(4);
  readonly #net = new Map<number, number>();

  get isZero(): boolean {
    return this.#net.size === 0;
  }

  /** What has been added in all, or null. */
  get current(): Perturbation | null {
    if (this.isZero) return null;
    const tensors = [...this.#net.keys()];
    return { tensors, seed: this.#seed.slice(), coefficients: Int32Array.from(this.#net.values()) };
  }

  /** @throws OnebyteError INTERNAL unless taking `undo` back leads to the committed state */
  assertIs(undo: Perturbation): void {
    const moved = undo.tensors.filter((_, i) => undo.coefficients[i] !== 0);
    const same =
      moved.length === this.#net.size &&
      undo.tensors.every((index, i) => (this.#net.get(index) ?? 0) === undo.coefficients[i]) &&
      (this.isZero || this.#seed.every((word, i) => word === undo.seed[i]));
    if (!same) throw new OnebyteError('INTERNAL', 'not the perturbation that stands');
  }

  /**
   * Takes note of a step, before it is made.
   * @throws OnebyteError INTERNAL along a second direction; GRID_RANGE when the sum goes beyond the grid
   */
  move({ tensors, seed, coefficients }: Perturbation, factor: 1 | -1): void {
    if (
      seed.length !== 4 ||
      coefficients.length !== tensors.length ||
      new Set(tensors).size !== tensors.length
    )
      throw new OnebyteError('INTERNAL', 'malformed perturbation');
    if (!this.isZero && seed.some((word, i) => word !== this.#seed[i]))
      throw new OnebyteError('INTERNAL', 'the state is perturbed along another direction already');
    const sums = tensors.map((index, i) => (this.#net.get(index) ?? 0) + factor * coefficients[i]!);
    for (const sum of sums) {
      if (Math.abs(sum) > LIMIT_QUANTA)
        throw new OnebyteError('GRID_RANGE', `a perturbation of ${sum} quanta leaves the grid`, {
          field: 'spec.method.estimator.radius',
          remedy: 'lower the radius: it is larger than the weights themselves',
        });
    }
    this.#seed = seed.slice();
    sums.forEach((sum, i) => {
      if (sum === 0) this.#net.delete(tensors[i]!);
      else this.#net.set(tensors[i]!, sum);
    });
  }
}
