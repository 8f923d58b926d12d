import type { EstimatorSpec, JobSpec, RuleSpec, StageSpec } from './job.ts';

/** One stage of the plan and the rounds it covers: `start` .. `start + rounds - 1`. */
export interface PlannedStage {
  readonly stage: StageSpec;
  readonly index: number;
  readonly start: number;
  readonly rounds: number;
}

/** Rounds of the whole run: the plan's, or `stop.rounds` where that is fewer. */
export function totalRounds(job: Pick<JobSpec, 'method' | 'stop'>): number {
  const planned = job.method.plan.reduce((sum, stage) => sum + stage.rounds, 0);
  return job.stop.rounds > 0 ? Math.min(planned, job.stop.rounds) : planned;
}

/**
 * The stage that `round` belongs to. A round at or after the run's end belongs to the stage of the last round: its
 * state is still that stage's (the final evaluation must not start the next one).
 */
export function stageOf(job: JobSpec, round: number): PlannedStage {
  const last = Math.max(0, Math.min(round, totalRounds(job) - 1));
  let start = 0;
  for (const [index, stage] of job.method.plan.entries()) {
    if (last < start + stage.rounds) return { stage, index, start, rounds: stage.rounds };
    start += stage.rounds;
  }
  const index = job.method.plan.length - 1;
  const stage = job.method.plan[index]!;
  return { stage, index, start: start - stage.rounds, rounds: stage.rounds };
}

export interface Effective {
  readonly estimator: EstimatorSpec;
  readonly rule: RuleSpec;
}

/** By stage; asked several times for each record. */
const known = new WeakMap<StageSpec, { readonly method: JobSpec['method']; readonly value: Effective }>();

/** The job's estimator and rule with the stage's changes applied, field by field. Neither is changed afterwards. */
export function effective({ method }: Pick<JobSpec, 'method'>, stage: StageSpec): Effective {
  const before = known.get(stage);
  if (before?.method === method) return before.value;
  const { estimator } = method;
  const probes = { ...estimator.probes, ...stage.estimator?.probes };
  const value = {
    estimator: { ...estimator, ...stage.estimator, probes },
    rule: { ...method.rule, ...stage.rule },
  };
  known.set(stage, { method, value });
  return value;
}

/** Forward passes (one batch each) of one member's `count` probes in one round. */
export function forwardsOf(estimator: Pick<EstimatorSpec, 'sides'>, count: number): number {
  if (count === 0) return 0;
  return estimator.sides === 2 ? 2 * count : count + 1;
}
