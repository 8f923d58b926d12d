import type { JobSpec } from '../journal/job.ts';
import { effective, totalRounds } from '../journal/plan.ts';

/** Bytes that the server stores with an entry, and that an entry holds beside what members say. */
const ENTRY_BYTES = 512;
/** Of one member in one round beside its probes; of one member's evaluation. */
const MEMBER_BYTES = 2;
const EVALUATION_BYTES = 40;
/** For what no plan tells: the genesis, disputes, checkpoints, members that come and go. */
const SLACK_BYTES = 4 << 20;
const MARGIN = 1.5;

/** Bytes that a job's log may take at most: every round with all probes of so many members. */
export function logBudget(job: Pick<JobSpec, 'method' | 'stop' | 'evaluation'>, members: number): number {
  const rounds = totalRounds(job);
  const probes = Math.max(...job.method.plan.map((stage) => effective(job, stage).estimator.probes.max));
  const every = job.evaluation.everyRounds > 0 ? job.evaluation.everyRounds : Number.POSITIVE_INFINITY;
  const round = ENTRY_BYTES + members * (probes + MEMBER_BYTES + EVALUATION_BYTES / every);
  return Math.ceil(SLACK_BYTES + MARGIN * rounds * round);
}
