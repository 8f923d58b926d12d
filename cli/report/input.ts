/** What a report is made of. */
import type { Observed, RunResult, ViewJob } from '../view/events.ts';
import type { Plan } from '../view/plan.ts';

export interface NamedDigest {
  /** Such as `trained state, after the last round`. */
  readonly what: string;
  /** SHA-256 in hex. */
  readonly digest: string;
}

export interface ReportInput {
  readonly job: ViewJob;
  /** The job file as it was given; shown as it is. */
  readonly jobText: string;
  readonly plan: Plan;
  /** Weights of the whole model, and trained ones per stage of the plan. */
  readonly weights: number;
  readonly trained: readonly number[];
  /** Milliseconds since the epoch, from the genesis record. */
  readonly startedAt: number;
  /** Every observation of the run in order, as `observationsOf` makes them of the journal. */
  readonly observed: readonly Observed[];
  readonly result: RunResult;
  readonly digests: readonly NamedDigest[];
  /** What to run to check the result, such as `onebyte replay runs/sentiment/journal.onebyte`. */
  readonly verify: string;
}
