import type { ChunkLimit } from '../../task/batch.ts';
import type { Outcomes } from '../../task/metrics.ts';
import type { Aborted } from '../evaluator.ts';
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
  /** At the state itself, row by row. */
  outcomes(split: Split, rows: Int32Array, aborted?: Aborted): Promise<Outcomes>;
  /** Milliseconds that moving to points and back has taken so far. */
  readonly directionMs: number;
  /** Closes its session, not its source of rows. */
  close(): Promise<void>;
}

/** How work is cut into calls of the runtime; figures from `bench/engine.ts`. */
export interface Chunking {
  /** Rows of one chunk, which are of like length. */
  readonly rows: number;
  /** Rows times points of one call. */
  readonly examples: number;
  /** Tokens of one call, padding included; no limit where it is left out. */
  readonly tokens?: number;
}

/** Tokens of one call of a decoder: its texts differ more in length, and its output over the vocabulary is wide. */
export const DECODER_TOKENS = 1024;

/** The limit of chunks that share a call with several points: what is frozen is then computed once for all of them. */
export function trainingLimit({ rows, examples, tokens }: Chunking): ChunkLimit {
  return { rows, tokens: tokens && Math.ceil((tokens * rows) / examples) };
}

/** The limit of chunks that are evaluated at one point alone. */
export function evaluationLimit({ examples, tokens }: Chunking): ChunkLimit {
  return { rows: examples, tokens };
}
