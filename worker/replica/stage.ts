/** What the trainable state of a run is made of, stage by stage: what `worker/engine/plan.ts` derives from job and model. */

/** W + C V of one matrix: at each epoch's end the product is added to W and C starts again at zero. */
export interface Merge {
  /** Layout index of W, [out, in]. */
  readonly weight: number;
  /** Layout index of C, [out, rank]. */
  readonly factor: number;
  readonly rank: number;
  readonly inputs: number;
  /** V of an epoch: [rank, inputs] whole numbers times 2 ** exponent. */
  basis(epoch: number): { readonly values: Int8Array; readonly exponent: number };
}

export interface StageTensors {
  /** Layout indices of the tensors that the stage perturbs and moves. */
  readonly tensors: readonly number[];
  readonly epochs: number;
  readonly merges: readonly Merge[];
}

/**
 * The epoch of a stage that round `index` (of `rounds`) belongs to, and whether it is that epoch's last round.
 * Epochs are spread evenly; the last one ends with the stage.
 */
export function epochOf(index: number, rounds: number, epochs: number): { epoch: number; ends: boolean } {
  const at = (i: number) => Math.min(epochs - 1, Math.floor((i * epochs) / rounds));
  return { epoch: at(index), ends: index === rounds - 1 || at(index + 1) !== at(index) };
}
