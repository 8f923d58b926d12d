/**
 * How long to wait for others, learnt from what was seen. Pure. Times in milliseconds.
 *
 * The estimator is TCP's (RFC 6298: smoothed mean, plus four smoothed deviations, doubled while it proves too short);
 * what is waited for is the time *behind the first contribution* of a round, so that a round in which everybody is
 * slow, such as one that starts a stage, needs no patience that was learnt elsewhere.
 */
export interface Estimate {
  readonly mean: number;
  readonly deviation: number;
  readonly samples: number;
}

export interface Pace {
  /** What the fastest member takes for the most probes, at the rounds that this member proposed. */
  readonly full: Estimate;
  /** From a round's first contribution to each later one, as proposers saw it. */
  readonly behind: Estimate;
  /** From sending one's own contribution to the record, in rounds of the first attempt that nobody missed. */
  readonly commit: Estimate;
  /** From an update's record to the next, as their proposers said: known to whoever reads the log, member or not. */
  readonly round: Estimate;
  /** Doublings in force. */
  readonly backoff: number;
}

/** What a round waits for: evaluations take long in proportion to the data, and the last ones should miss nobody. */
export type Patience = 'probe' | 'evaluation' | 'final';

const NONE: Estimate = { mean: 0, deviation: 0, samples: 0 };
export const STARTING_PACE: Pace = { full: NONE, behind: NONE, commit: NONE, round: NONE, backoff: 0 };

const MAX_BACKOFF = 3;
const UNKNOWN_BEHIND = 1000;
const UNKNOWN_COMMIT = 2000;
const UNKNOWN_ROUND = Number.POSITIVE_INFINITY;
const MIN_ATTEMPT = 100;
const MAX_ATTEMPT = 10_000;

/**
 * What a busy machine takes from a process now and then, a pause of a few time slices. Where whole rounds take less, nobody is
 * missed or called late for less than this: a member would halve its probes for tens of rounds over one such pause.
 */
const HICCUP = 60;

/** Shortest and longest wait behind a first contribution: so many milliseconds, or so many times the first's own time. */
const BOUNDS: Readonly<Record<Patience, { floor: [number, number]; ceiling: [number, number] }>> = {
  probe: { floor: [HICCUP, 0.25], ceiling: [2000, 1] },
  evaluation: { floor: [500, 1], ceiling: [10_000, 3] },
  final: { floor: [1000, 3], ceiling: [20_000, 6] },
};

export function observe(estimate: Estimate, sample: number): Estimate {
  const { mean, deviation, samples } = estimate;
  if (samples === 0) return { mean: sample, deviation: sample / 2, samples: 1 };
  return {
    mean: mean + (sample - mean) / 8,
    deviation: deviation + (Math.abs(sample - mean) - deviation) / 4,
    samples: samples + 1,
  };
}

export function sampled(pace: Pace, what: 'full' | 'behind' | 'commit' | 'round', sample: number): Pace {
  return { ...pace, [what]: observe(pace[what], Math.max(0, sample)) };
}

/** After a record: one that somebody missed doubles the waits, a whole one halves them again. */
export function afterRecord(pace: Pace, whole: boolean): Pace {
  return { ...pace, backoff: Math.max(0, Math.min(MAX_BACKOFF, pace.backoff + (whole ? -1 : 1))) };
}

/**
 * How long a proposer waits for the others once it has a first contribution, which took `first` to come: as long as
 * they usually come behind it, and in any case until a fast member would be done with the most probes. (The first
 * may be one that evaluated few.)
 */
export function waitTime(pace: Pace, patience: Patience, first: number): number {
  const { floor, ceiling } = BOUNDS[patience];
  const learnt = timeOut(pace.behind, UNKNOWN_BEHIND) * 2 ** pace.backoff;
  const least = Math.max(floor[0], floor[1] * first, 1.25 * pace.full.mean - first);
  return Math.min(Math.max(learnt, least), Math.max(ceiling[0], ceiling[1] * first, least));
}

/**
 * How long after sending its contribution a member takes the proposers so far for lost. Too short does little harm:
 * one proposer more waits for the others.
 * @param absent whether all of the proposers missed the last record already
 */
export function attemptTime(pace: Pace, attempt: number, absent = false): number {
  const learnt = Math.max(timeOut(pace.commit, UNKNOWN_COMMIT), waitTime(pace, 'probe', pace.full.mean));
  return Math.min(Math.max(learnt * (absent ? 0.25 : attempt === 0 ? 1 : 2), MIN_ATTEMPT), MAX_ATTEMPT);
}

/** Silence after which a run's members are more likely gone than slow. */
export function silence(pace: Pace): number {
  return 4 * timeOut(pace.round, UNKNOWN_ROUND);
}

/** One contribution of a round: milliseconds from its start, and probes. */
export interface Arrival {
  readonly took: number;
  readonly probes: number;
}

/**
 * What the fastest of some members takes for the most probes: what the others' counts should fit into. Members that
 * evaluated few do not shorten it, so nobody is slowed down by somebody who could do more.
 */
export function fullTime(arrivals: readonly Arrival[], maxProbes: number): number {
  return arrivals.reduce(
    (least, { took, probes }) => Math.min(least, (took * maxProbes) / probes),
    Number.POSITIVE_INFINITY,
  );
}

/** How far behind `full` a member may be without a word about it. */
export function tolerated(full: number): number {
  return Math.max(HICCUP, full / 2);
}

function timeOut(estimate: Estimate, unknown: number): number {
  return estimate.samples === 0 ? unknown : estimate.mean + 4 * estimate.deviation;
}
