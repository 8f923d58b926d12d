import type { Digest } from '../journal/record.ts';
import type { Contributions } from './contribution.ts';
import type { PlacedTensor } from './layout.ts';

/**
 * The trainable state of one replica: tensors of whole quanta, changed only in ways that are exact.
 *
 * Coarsening. Committed values stay within 2**23 quanta (half the range that 32-bit floats hold exactly; the other
 * half is room for perturbations and undo). The rule, a pure function of the state and of the contributions, so the
 * same on every replica whatever its own past (snapshot, rewind, replay):
 *
 *   while max|w_t| + sum_k |c_kt| > 2**23:  q_t doubles; every w_t / q_t and every c_kt is halved, halves to even.
 *
 * It is applied inside `add`, once per call, so ONE `add` MUST BE ONE ROUND, unless `fits` says that nothing would be
 * coarsened by the rounds taken together. Coefficients of later rounds must be computed from the new `exponent`.
 */
export interface TensorStore {
  readonly tensors: readonly PlacedTensor[];
  /** How often tensors have been coarsened since the layout's own exponents, in all. */
  readonly generation: number;
  /** Exponent of the tensor's quantum now. */
  exponent(index: number): number;
  /** The tensor's elements where they lie, without padding. Whoever writes here calls `settle` afterwards. */
  view(index: number): Float32Array;
  /**
   * Sets a tensor's elements, which must be multiples of its quantum (`roundToGrid`).
   * @throws OnebyteError INTERNAL when one is not, or is beyond 2**23 quanta
   */
  set(index: number, values: Float32Array): void;
  /**
   * After a write through `view` of multiples of the quantum up to 2**24 of them: learns the tensor's largest value,
   * and coarsens until that is within 2**23.
   * @returns whether it was coarsened
   */
  settle(index: number): boolean;
  /** Doubles the tensor's quantum; every element is rounded half to even. */
  coarsen(index: number): void;
  /** Largest absolute value, in quanta. Reads the whole tensor. */
  maxAbs(index: number): number;
  /** Whether `add(contributions)` surely coarsens nothing. Cheap; may say no where a look at the state would say yes. */
  fits(contributions: Contributions): boolean;
  /**
   * Adds one round's contributions.
   * @returns indices of the tensors that were coarsened first
   * @throws OnebyteError GRID_RANGE when a quantum would leave the range of 32-bit floats: training has diverged
   */
  add(contributions: Contributions): readonly number[];
  /**
   * Takes back what `add` added, exactly.
   * @param generation what `generation` was before that `add`
   * @throws OnebyteError INTERNAL when a tensor has been coarsened since, which nothing can take back: rebuild the
   *   state from a snapshot or from the log's start
   */
  undo(contributions: Contributions, generation: number): void;
  /** `combineDigests(tensorDigests())`: over names, shapes, exponents and every byte of the state. */
  digest(): Digest;
  /** One for each tensor, so that two replicas can name where they differ. */
  tensorDigests(): Digest[];
  snapshot(): Uint8Array;
  /** @throws OnebyteError SNAPSHOT_INVALID, and then leaves the state as it was */
  restore(bytes: Uint8Array): void;
}
