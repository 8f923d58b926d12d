/** The stages of a job as the views speak of them: a name, and the rounds each one covers. */
import { type JobSpec, type ScopeSpec, totalRounds } from '../../worker/journal/index.ts';

export interface PlannedStage {
  /** `head`, or `subspace rank 16, layers 4-5`. */
  readonly label: string;
  /** Its first round, and how many it has. */
  readonly first: number;
  readonly rounds: number;
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

/** The plan that `job` asks for; `stop.rounds` cuts the stages short. */
export function planOf(job: JobSpec): Plan {
  const rounds = totalRounds(job);
  const stages: PlannedStage[] = [];
  let first = 0;
  for (const stage of job.method.plan) {
    const here = Math.min(stage.rounds, rounds - first);
    if (here <= 0) break;
    stages.push({ label: scopeLabel(stage.scope), first, rounds: here });
    first += here;
  }
  return { stages, rounds, mayEndSooner: job.stop.forwards > 0 || job.stop.target !== undefined };
}

/** The index of the stage that `round` belongs to; rounds past the end belong to the last one. */
export function stageAt(plan: Plan, round: number): number {
  let index = 0;
  for (let i = 0; i < plan.stages.length; i += 1) if (plan.stages[i]!.first <= round) index = i;
  return index;
}
