/**
 * How many probes a member evaluates in its next round: additive increase, multiplicative decrease between the
 * stage's bounds, so that workers of any speed share one run and none waits for another. Pure.
 */
export interface ProbeCount {
  readonly count: number;
  /** What was last known to fit; above it the count grows one step in `trial` rounds. */
  readonly fits: number;
  /** Doubled by each step that was too much. */
  readonly trial: number;
  /** Rounds in time since the last change. */
  readonly steady: number;
  /** Rounds missed in a row. */
  readonly missed: number;
}

export interface ProbeBounds {
  readonly min: number;
  readonly max: number;
}

const TRIAL = 4;
const LONGEST_TRIAL = 64;

/** Starts with the most: the usual case is workers of one speed, and a slow one is told after its first round. */
export function startingCount(bounds: ProbeBounds): ProbeCount {
  return { count: bounds.max, fits: bounds.max, trial: TRIAL, steady: 0, missed: 0 };
}

/** The count inside a stage's bounds. */
export function within(probes: ProbeCount, bounds: ProbeBounds): ProbeCount {
  if (probes.count >= bounds.min && probes.count <= bounds.max) return probes;
  return { ...probes, count: clamp(probes.count, bounds) };
}

/** The bytes were in the record. */
export function inTime(probes: ProbeCount, bounds: ProbeBounds): ProbeCount {
  const steady = probes.steady + 1;
  const grows = probes.count < bounds.max && (probes.count < probes.fits || steady >= probes.trial);
  if (!grows) return { ...probes, steady, missed: 0 };
  const count = probes.count + 1;
  return { ...probes, count, fits: Math.max(count, probes.fits), steady: 0, missed: 0 };
}

/** The record came before the bytes were ready: a half, then a quarter, then an eighth. */
export function missed(probes: ProbeCount, bounds: ProbeBounds): ProbeCount {
  const misses = Math.min(probes.missed + 1, 12);
  const count = clamp(Math.floor(probes.count / 2 ** misses), bounds);
  return { count, fits: clamp(probes.count - 1, bounds), trial: longer(probes), steady: 0, missed: misses };
}

/**
 * The bytes were in the record, but `behind` ms after the fastest member's full count. `took` is the time that evaluating them took: where
 * it is the smaller of the two, the network or what is computed once is what is slow, and fewer probes would not help.
 */
export function late(probes: ProbeCount, bounds: ProbeBounds, behind: number, took: number): ProbeCount {
  if (!(behind > 0 && behind < took && took < Number.POSITIVE_INFINITY)) return probes;
  const count = clamp(Math.floor(probes.count * (1 - behind / took)), bounds);
  return { count, fits: count, trial: longer(probes), steady: 0, missed: 0 };
}

function longer({ trial }: ProbeCount): number {
  return Math.min(LONGEST_TRIAL, 2 * trial);
}

function clamp(count: number, { min, max }: ProbeBounds): number {
  return Math.min(max, Math.max(min, count));
}
