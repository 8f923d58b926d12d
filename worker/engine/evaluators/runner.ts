import type { Aborted, Sums } from '../evaluator.ts';
import type { Split } from './source.ts';

/** A point around the state: theta + sign * radius * z(seed). Sign 0 is the state itself. */
export interface Point {
  /** Four words; unused where the sign is 0. */
  readonly seed: Uint32Array;
  readonly sign: -1 | 0 | 1;
}

/** Forward passes of one stage. Leaves the state as it was, also when it throws. */
export interface Runner {
  /**
   * Sums of per-example losses over training rows, at each point.
   * @throws OnebyteError ENGINE_FAILED; Abandoned
   */
  losses(points: readonly Point[], rows: Int32Array, aborted?: Aborted): Promise<Float64Array>;
  /** At the state itself. */
  evaluate(split: Split, rows: Int32Array, aborted?: Aborted): Promise<Sums>;
  /** Closes its session, not its source of rows. */
  close(): Promise<void>;
}

/** How work is cut into calls of the runtime; figures from `bench/engine.ts`. */
export interface Chunking {
  /** Rows of one chunk, which are of like length. */
  readonly rows: number;
  /** Rows times points of one call. */
  readonly examples: number;
}
