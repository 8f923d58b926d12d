/** What the trainable state of a run is made of, stage by stage; `worker/engine/stages.ts` derives it from job and model. */

/** W += factor * C V of one matrix, then C = 0. */
export interface Merge {
  /** Layout index of W, [out, in]. */
  readonly weight: number;
  /** Layout index of C (subspace) or B (lora), [out, rank]. */
  readonly left: number;
  /** V of an epoch, [rank, in] whole numbers times 2 ** exponent; or the layout index of A (lora), [rank, in]. */
  readonly right: number | ((epoch: number) => { readonly values: Int8Array; readonly exponent: number });
  readonly rank: number;
  readonly inputs: number;
  readonly factor: number;
}

export interface StageTensors {
  /** Layout indices of the tensors that the stage perturbs and moves. */
  readonly tensors: readonly number[];
  readonly merges: readonly Merge[];
  /** Rounds of the run whose probes are the first to see a merge, ascending; the e-th ends epoch e. */
  readonly mergedBefore: readonly number[];
}

/** Merges of the stage that the state of `round` has seen: the number of the epoch it is in. */
export function epochOf(stage: StageTensors, round: number): number {
  return stage.mergedBefore.filter((first) => first <= round).length;
}
