import { directionSeed, hashWords, poolSeed, SEED_WORDS } from '../direction/seed.ts';
import type { JobSpec } from '../journal/job.ts';
import { effective, type Ledger, stageOf } from '../journal/ledger.ts';
import type { RoundRecord } from '../journal/record.ts';
import { drawCandidate, drawTable, type PoolHistory } from '../method/pool.ts';
import { coefficients, type Measurement, measurements, weights } from '../method/rule.ts';
import { scheduleFactor } from '../method/schedule.ts';

/** One direction of a round: the probe's own seed, and the seed its direction comes from (a candidate's, in a pool). */
export interface Direction {
  readonly own: Uint32Array;
  readonly seed: Uint32Array;
  /** The candidate drawn; -1 without a pool. */
  readonly candidate: number;
}

/** Gives the directions of the ledger's next round, by slot and probe. Pure: the draw depends on public data only. */
export type Directions = (slot: number, probe: number) => Direction;

export function directionsOf(ledger: Ledger, job: JobSpec, history: PoolHistory | null): Directions {
  const { seed: jobSeed, method } = job;
  const table = history === null ? null : drawTable(history, method.seedDraw);
  return (slot, probe) => {
    const own = directionSeed({ jobSeed, roundChain: ledger.roundChain, round: ledger.round, slot, probe });
    if (table === null) return { own, seed: own, candidate: -1 };
    const [a, b] = hashWords('onebyte/pool-draw/1', [...own], 2);
    // 53 random bits, so that the number is exact and below 1.
    const candidate = drawCandidate(table, ((a! >>> 5) * 2 ** 26 + (b! >>> 6)) / 2 ** 53);
    return { own, seed: poolSeed(jobSeed, candidate), candidate };
  };
}

/** A round's update in real numbers: theta += sum_k amounts[k] z(directions[k]), before rounding to each grid. */
export interface Update {
  readonly measured: readonly Measurement[];
  readonly directions: readonly Direction[];
  /** In units of the weights. */
  readonly amounts: Float64Array;
  readonly momentum: number;
}

/** What a round record does to the state that `ledger` (before the record) describes. */
export function updateOf(ledger: Ledger, record: RoundRecord, directions: Directions): Update {
  const job = ledger.job!;
  const { stage, start, rounds } = stageOf(job, record.round);
  const { estimator, rule } = effective(job, stage);
  const slots = ledger.members.map(({ slot }) => slot);
  const examples = new Map(ledger.members.map((member) => [member.slot, member.examples]));
  const measured = measurements(job.method.codec, slots, record.bytes);
  const weight = weights(measured, rule.weighting, (slot) => examples.get(slot)!);
  const factor = scheduleFactor(rule, record.round - start, rounds);
  return {
    measured,
    directions: measured.map(({ slot, probe }) => directions(slot, probe)),
    amounts: coefficients(measured, weight, rule, estimator, factor),
    momentum: rule.momentum,
  };
}

/** Seeds of the directions as one array, four words each. */
export function seedsOf(directions: readonly Direction[]): Uint32Array {
  const seeds = new Uint32Array(directions.length * SEED_WORDS);
  directions.forEach(({ seed }, k) => {
    seeds.set(seed, k * SEED_WORDS);
  });
  return seeds;
}
