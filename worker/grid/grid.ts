import { OnebyteError } from '../errors.ts';
import type { Digest } from '../journal/record.ts';
import type { Contributions } from './contribution.ts';
import { combineDigests, tensorDigest } from './digest.ts';
import type { PlacedTensor } from './layout.ts';
import { EXACT_QUANTA, EXPONENT_RANGE, LIMIT_QUANTA, powerOfTwo, roundHalfEven } from './quantum.ts';
import { decodeSnapshot, encodeSnapshot } from './snapshot.ts';
import type { TensorStore } from './store.ts';

/** Sum over the rows of |coefficient|, for each of the contributions' tensors, in quanta. */
function movements(c: Contributions): number[] {
  const sums = new Array<number>(c.tensors.length).fill(0);
  for (let i = 0; i < c.coefficients.length; i++) sums[i % sums.length]! += Math.abs(c.coefficients[i]!);
  return sums;
}

/** Halves one tensor's coefficients, halves to even, and returns the sum of what is left. */
function halveColumn(coefficients: Int32Array, column: number, stride: number): number {
  let sum = 0;
  for (let i = column; i < coefficients.length; i += stride) {
    coefficients[i] = roundHalfEven(coefficients[i]! / 2);
    sum += Math.abs(coefficients[i]!);
  }
  return sum;
}

/** The bound, the coarsening rule, digest and snapshot of a store; subclasses hold the elements and add directions. */
export abstract class Grid implements TensorStore {
  readonly tensors: readonly PlacedTensor[];
  readonly #exponents: Int32Array;
  /** At least max|w| in quanta; never more than LIMIT_QUANTA between calls. */
  readonly #bounds: Float64Array;

  constructor(tensors: readonly PlacedTensor[]) {
    this.tensors = tensors;
    this.#exponents = Int32Array.from(tensors, (t) => t.exponent);
    this.#bounds = new Float64Array(tensors.length);
    for (const { name, exponent } of tensors)
      if (!(exponent >= EXPONENT_RANGE.min && exponent <= EXPONENT_RANGE.max))
        throw new OnebyteError('INTERNAL', `exponent ${exponent} of ${name} is out of range`);
  }

  abstract view(index: number): Float32Array;
  /** Largest |element| of the tensor, as it is stored. */
  protected abstract largest(index: number): number;
  /** Rounds every element to a multiple of `quantum`, halves to even, zeros to +0. */
  protected abstract roundTo(index: number, quantum: number): void;
  /** Adds contributions that are known to be exact. */
  protected abstract apply(contributions: Contributions): void;
  /** Throws when the elements are not the committed ones, such as during a probe. */
  protected abstract assertCommitted(): void;

  get generation(): number {
    return this.tensors.reduce((sum, t, i) => sum + this.#exponents[i]! - t.exponent, 0);
  }

  exponent(index: number): number {
    const exponent = this.#exponents[index];
    if (exponent === undefined) throw new OnebyteError('INTERNAL', `no tensor number ${index}`);
    return exponent;
  }

  quantum(index: number): number {
    return powerOfTwo(this.exponent(index));
  }

  /** Known to be at least `maxAbs`, without looking. */
  protected bound(index: number): number {
    return this.#bounds[index]!;
  }

  maxAbs(index: number): number {
    return this.largest(index) * powerOfTwo(-this.exponent(index));
  }

  set(index: number, values: Float32Array): void {
    this.assertCommitted();
    const view = this.view(index);
    if (values.length !== view.length)
      throw new OnebyteError('INTERNAL', `${this.tensors[index]!.name}: ${values.length} values do not fit`);
    const inverse = powerOfTwo(-this.exponent(index));
    let bound = 0;
    // By index: an iterator takes several times as long over so many.
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      const n = Math.abs(value * inverse);
      if (!Number.isInteger(n) || n > LIMIT_QUANTA)
        throw new OnebyteError('INTERNAL', `${this.tensors[index]!.name}: ${value} is not on the grid`);
      if (n > bound) bound = n;
    }
    // Adding zero turns -0 into +0: equal values must have equal bytes.
    for (let i = 0; i < values.length; i++) view[i] = values[i]! + 0;
    this.#bounds[index] = bound;
  }

  /** Sets a tensor's elements on the grid that the layout gives it, however much that was coarsened since. */
  start(index: number, values: Float32Array): void {
    this.#exponents[index] = this.tensors[index]!.exponent;
    this.set(index, values);
  }

  settle(index: number): boolean {
    this.assertCommitted();
    const before = this.exponent(index);
    while ((this.#bounds[index] = this.maxAbs(index)) > LIMIT_QUANTA) this.coarsen(index);
    return this.exponent(index) !== before;
  }

  coarsen(index: number): void {
    this.assertCommitted();
    const exponent = this.exponent(index) + 1;
    if (exponent > EXPONENT_RANGE.max) {
      throw new OnebyteError(
        'GRID_RANGE',
        `${this.tensors[index]!.name} has left the range of 32-bit floats`,
        {
          remedy: 'training has diverged: lower rule.learningRate or estimator.radius',
        },
      );
    }
    this.roundTo(index, powerOfTwo(exponent));
    this.#exponents[index] = exponent;
    this.#bounds[index] = Math.ceil(this.#bounds[index]! / 2);
  }

  fits(c: Contributions): boolean {
    return movements(c).every((sum, i) => this.#bounds[c.tensors[i]!]! + sum <= LIMIT_QUANTA);
  }

  add(c: Contributions): readonly number[] {
    this.assertCommitted();
    this.check(c);
    if (this.fits(c)) {
      this.apply(c);
      this.raise(c);
      return [];
    }
    const coefficients = c.coefficients.slice();
    const coarsened = c.tensors.filter((index, column) =>
      this.#makeRoom(index, coefficients, column, c.tensors.length),
    );
    const fitting = { ...c, coefficients };
    this.apply(fitting);
    this.raise(fitting);
    return coarsened;
  }

  /** The coarsening rule of `TensorStore`, for one tensor. Returns whether it was coarsened. */
  #makeRoom(index: number, coefficients: Int32Array, column: number, stride: number): boolean {
    const before = this.exponent(index);
    let sum = 0;
    for (let i = column; i < coefficients.length; i += stride) sum += Math.abs(coefficients[i]!);
    while (this.#bounds[index]! + sum > LIMIT_QUANTA) {
      this.#bounds[index] = this.maxAbs(index);
      if (this.#bounds[index]! + sum <= LIMIT_QUANTA) break;
      this.coarsen(index);
      sum = halveColumn(coefficients, column, stride);
    }
    return this.exponent(index) !== before;
  }

  undo(c: Contributions, generation: number): void {
    this.assertCommitted();
    this.check(c);
    if (generation !== this.generation)
      throw new OnebyteError('INTERNAL', 'a round in which a tensor was coarsened cannot be taken back');
    movements(c).forEach((sum, i) => {
      if (this.#bounds[c.tensors[i]!]! + sum > EXACT_QUANTA)
        throw new OnebyteError('INTERNAL', 'these contributions were never added in one round');
    });
    this.apply({ ...c, coefficients: c.coefficients.map((n) => -n) });
    this.raise(c);
    for (const index of c.tensors) {
      if (this.#bounds[index]! <= LIMIT_QUANTA) continue;
      this.#bounds[index] = this.maxAbs(index);
      if (this.#bounds[index]! > LIMIT_QUANTA)
        throw new OnebyteError('INTERNAL', 'took back contributions that had not been added');
    }
  }

  /** Accounts for contributions that have been applied. */
  protected raise(c: Contributions): void {
    movements(c).forEach((sum, i) => {
      this.#bounds[c.tensors[i]!]! += sum;
    });
  }

  /** Looks at a tensor that was changed otherwise than by `apply`; its values must be within the limit. */
  protected rescan(index: number): void {
    this.#bounds[index] = this.maxAbs(index);
    if (this.#bounds[index]! > LIMIT_QUANTA)
      throw new OnebyteError('INTERNAL', `${this.tensors[index]!.name} is beyond its grid`);
  }

  /** Throws on contributions of the wrong form. */
  protected check(c: Contributions): void {
    const columns = c.tensors.length;
    if (c.seeds.length !== 4 * c.count || c.coefficients.length !== c.count * columns)
      throw new OnebyteError('INTERNAL', 'contributions of mismatched lengths');
    if (new Set(c.tensors).size !== columns || !c.tensors.every((index) => index in this.tensors))
      throw new OnebyteError('INTERNAL', 'contributions to unknown or repeated tensors');
  }

  digest(): Digest {
    return combineDigests(this.tensorDigests());
  }

  tensorDigests(): Digest[] {
    this.assertCommitted();
    return this.tensors.map((tensor, i) => tensorDigest(tensor, this.exponent(i), this.view(i)));
  }

  snapshot(): Uint8Array {
    this.assertCommitted();
    return encodeSnapshot(
      this.tensors,
      (i) => this.exponent(i),
      (i) => this.view(i),
    );
  }

  restore(bytes: Uint8Array): void {
    const decoded = decodeSnapshot(this.tensors, bytes);
    this.assertCommitted();
    decoded.forEach(({ exponent, values }, i) => {
      this.#exponents[i] = exponent;
      this.set(i, values);
    });
  }
}
