import type { Evaluation } from '../journal/record.ts';
import type { Outcomes } from '../task/metrics.ts';

/** What a worker measures in one round. All arrays are in probe order. */
export interface ProbeResult {
  /** Projected gradients; NaN: abstains (no data, or the loss was not a number). */
  readonly values: Float64Array;
  /** Sum of per-example losses at the round's state (the centre, or the mean of both signs), and their number. */
  readonly lossSum: number;
  readonly lossCount: number;
  /** Forward passes over one batch each. */
  readonly forwards: number;
  readonly examples: number;
  readonly seconds: number;
  /** Of them: moving the trained weights along directions and back. */
  readonly directionSeconds: number;
  /** Of them: the frozen part for rows that it was not computed for before. */
  readonly frozenSeconds: number;
}

export type Sums = Omit<Evaluation, 'slot'>;

/** Says whether nobody wants the result any more; asked before each call of the runtime. */
export type Aborted = () => boolean;

/** What `probe` and `evaluate` throw when they were abandoned; the state is as it was. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned';
}

/** @throws Abandoned */
export function check(aborted: Aborted | undefined): void {
  if (aborted?.() === true) throw new Abandoned();
}

/**
 * Forward passes at, and around, the state of one replica. Lives in the engine's thread beside the state, reads it,
 * and leaves it bit for bit as it was.
 */
export interface Evaluator {
  /**
   * Makes ready for a stage of the plan: builds its sessions over the state's tensors. Called again after a merge,
   * when the frozen part of the model has changed.
   * @param epoch of a `subspace` stage: the number of its merges so far, which says what V is; else 0
   */
  enter(stage: number, epoch: number): Promise<void>;
  /**
   * Evaluates `seeds.length / 4` probes over one batch of rows of this worker's training data.
   * @param seeds four 32-bit words for each probe (`worker/direction/seed.ts`)
   * @throws Abandoned
   */
  probe(seeds: Uint32Array, rows: Int32Array, aborted?: Aborted): Promise<ProbeResult>;
  /**
   * Computes what is frozen for training rows that the stage will draw, so that its rounds take what rounds take. What `ms`
   * milliseconds are too short for is computed as rounds draw it.
   */
  warm(rows: Int32Array, ms: number): Promise<void>;
  /** Sums over the given rows of one split at the current state. @throws Abandoned */
  evaluate(split: Evaluation['split'], rows: Int32Array, aborted?: Aborted): Promise<Sums>;
  /** What the current state makes of each of the given rows of one split. @throws Abandoned */
  outcomes(split: Evaluation['split'], rows: Int32Array, aborted?: Aborted): Promise<Outcomes>;
  /** Rows held of each split. */
  readonly rows: Readonly<Record<Evaluation['split'], number>>;
  close(): Promise<void>;
}
