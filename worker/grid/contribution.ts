/**
 * One round's update, as whole multiples of the quanta: theta_t += q_t * sum_k coefficients[k][t] * z_k.
 * Row-major, `count` rows of `tensors.length`.
 */
export interface Contributions {
  readonly count: number;
  /** Four 32-bit words a row: Philox key (2) and the upper half of its counter (2). */
  readonly seeds: Uint32Array;
  /** Layout indices of the tensors that move. */
  readonly tensors: readonly number[];
  readonly coefficients: Int32Array;
}
