/** The stages of a job as the views speak of them: a name, and the rounds each one covers. */
import type { EstimatorSpec, JobSpec, ScopeSpec } from '../../worker/journal/job.ts';

export interface PlannedStage {
  /** `head`, or `subspace rank 16, layers 4-5`. */
  readonly label: string;
  /** Its first round, and how many it has. */
  readonly first: number;
  readonly rounds: number;
  /** Forward passes that one member spends on `probes` probes are `passes(estimator, probes)`. */
  readonly sides: 1 | 2;
  /** Examples of a forward pass. */
  readonly batch: number;
}

export interface Plan {
  readonly stages: readonly PlannedStage[];
  /** Rounds in all; a limit on forwards or a target may end the run sooner. */
  readonly rounds: number;
  readonly mayEndSooner: boolean;
}

export function scopeLabel(scope: ScopeSpec): string {
  if (scope.type === 'head') return 'head';
  const layers = scope.layers === 'all' ? 'all layers' : `layers ${scope.layers}`;
  return scope.type === 'full' ? `full, ${layers}` : `${scope.type} rank ${scope.rank}, ${layers}`;
}

/** The plan that `spec` asks for; `stop.rounds` cuts the stages short. */
export function planOf(spec: Pick<JobSpec, 'method' | 'stop'>): Plan {
  const limit = spec.stop.rounds > 0 ? spec.stop.rounds : Number.POSITIVE_INFINITY;
  const stages: PlannedStage[] = [];
  let first = 0;
  for (const stage of spec.method.plan) {
    const rounds = Math.max(0, Math.min(stage.rounds, limit - first));
    if (rounds === 0) break;
    const estimator: EstimatorSpec = { ...spec.method.estimator, ...stage.estimator };
    stages.push({
      label: scopeLabel(stage.scope),
      first,
      rounds,
      sides: estimator.sides,
      batch: estimator.batch,
    });
    first += rounds;
  }
  return { stages, rounds: first, mayEndSooner: spec.stop.forwards > 0 || spec.stop.target !== undefined };
}

/** The index of the stage that `round` belongs to; rounds past the end belong to the last one. */
export function stageOf(plan: Plan, round: number): number {
  let index = 0;
  for (let i = 0; i < plan.stages.length; i += 1) if (plan.stages[i]!.first <= round) index = i;
  return index;
}

/** Forward passes of one member with `probes` probes in one round (design section 5). */
export function passes(stage: Pick<PlannedStage, 'sides'> | undefined, probes: number): number {
  if (!(probes > 0)) return 0;
  return stage?.sides === 1 ? probes + 1 : 2 * probes;
}
