import type { EstimatorSpec, RuleSpec } from '../journal/job.ts';
import { type CodecName, codec } from './codec.ts';

/** One probe of a committed round that did not abstain. */
export interface Measurement {
  readonly slot: number;
  /** Index among the probes of its slot. */
  readonly probe: number;
  /** Decoded projected gradient. */
  readonly value: number;
}

/** Decodes a round's bytes; `slots[i]` owns `bytes[i]`. Order: slots, then probes: every sum below runs in it. */
export function measurements(
  name: CodecName,
  slots: readonly number[],
  bytes: readonly Uint8Array[],
): Measurement[] {
  const { values } = codec(name);
  return bytes.flatMap((own, i) =>
    Array.from(own, (byte, probe) => ({ slot: slots[i]!, probe, value: values[byte]! })).filter(
      ({ value }) => !Number.isNaN(value),
    ),
  );
}

/**
 * Weight of each measurement; the mean weight is 1. `workers`: every contributing worker counts the same however
 * many probes it evaluated; `examples`: by the examples it holds.
 */
export function weights(
  measured: readonly Measurement[],
  weighting: RuleSpec['weighting'],
  examplesOf: (slot: number) => number,
): Float64Array {
  if (weighting === 'probes') return new Float64Array(measured.length).fill(1);
  const counts = new Map<number, number>();
  for (const { slot } of measured) counts.set(slot, (counts.get(slot) ?? 0) + 1);
  const share = (slot: number) => (weighting === 'workers' ? 1 : Math.max(1, examplesOf(slot)));
  let total = 0;
  for (const slot of counts.keys()) total += share(slot);
  return Float64Array.from(
    measured,
    ({ slot }) => (measured.length * share(slot)) / (total * counts.get(slot)!),
  );
}

/**
 * Real coefficient of each measurement's direction, in units of the weights: theta += sum_k a_k z_k. Replicated, so
 * only + - * / and square roots, in a fixed order.
 *
 * One-sided values share the curvature term r z'Hz / 2; taking their weighted mean off removes its common part.
 * `normalized` divides by the root mean square of the values, as FZOO (arXiv 2506.09034) divides by their deviation.
 */
export function coefficients(
  measured: readonly Measurement[],
  weight: Float64Array,
  rule: Pick<RuleSpec, 'type' | 'learningRate' | 'scaling'>,
  estimator: Pick<EstimatorSpec, 'sides' | 'radius'>,
  factor: number,
): Float64Array {
  const n = measured.length;
  const result = new Float64Array(n);
  if (n === 0) return result;

  let mean = 0;
  if (estimator.sides === 1 && n > 1) {
    for (let k = 0; k < n; k++) mean += weight[k]! * measured[k]!.value;
    mean /= n;
  }
  let squares = 0;
  for (let k = 0; k < n; k++) {
    const centred = measured[k]!.value - mean;
    result[k] = weight[k]! * centred;
    squares += centred * centred;
  }
  const spread = rule.scaling === 'mean' ? n : rule.scaling === 'sqrt' ? Math.sqrt(n) : 1;
  let step = (rule.learningRate * factor) / spread;
  if (rule.type === 'normalized') {
    const rms = Math.sqrt(squares / n);
    step = rms === 0 ? 0 : (step * estimator.radius) / rms;
  }
  for (let k = 0; k < n; k++) result[k] = -step * result[k]!;
  return result;
}
