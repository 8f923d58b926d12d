import type { Status } from '../../crds/job.ts';
import { conditionOf, timeText } from './conditions.ts';
import { groupsOf } from './job.ts';
import type { LogSummary } from './log-port.ts';
import { CONDITIONS, STATES } from './names.ts';
import { exportHash, templateHash } from './pod.ts';
import { type RunStatus, runStatus } from './progress.ts';
import type { GroupPlan } from './scale.ts';
import { POLICIES, type Trouble } from './trouble.ts';
import { timeOf, type Worker } from './worker.ts';
import type { World } from './world.ts';

/**
 * Where a job is. `unknown`: its log has not been asked since this process started. `exporting` and `completed`: its
 * run has ended; `finished`: and its status says so. `failed`: it ends now, badly.
 */
export type Phase =
  | 'deleting'
  | 'finished'
  | 'suspended'
  | 'unknown'
  | 'failed'
  | 'exporting'
  | 'completed'
  | 'active';

export interface Counts {
  readonly desired: number;
  readonly created: number;
  readonly ready: number;
  readonly joined: number;
}

export interface WorkerTrouble {
  readonly worker: Worker;
  readonly trouble: Trouble;
}

/** What follows from a world at once; plan and status are made from it. */
export interface Facts {
  readonly phase: Phase;
  readonly groups: readonly GroupPlan[];
  readonly counts: ReadonlyMap<string, Counts>;
  readonly total: Counts;
  readonly summary: LogSummary | null;
  /** What the log says, as the status has it. */
  readonly run: RunStatus;
  readonly hasStream: boolean;
  /** Why the job fails, in phase failed. */
  readonly failure: { readonly reason: string; readonly message: string } | null;
  /** Troubles of present workers, those that a person has to see to first. */
  readonly troubles: readonly WorkerTrouble[];
  /** The first trouble that stalls the job, if it lasts too long; else null. */
  readonly stalling: WorkerTrouble | null;
  /** When the run was seen to have ended. */
  readonly endedAt: number | null;
  /** When there was a sign of life of the run last. */
  readonly progressAt: number;
  /** Times at which one of the job's clocks runs out. */
  readonly deadlines: readonly number[];
}

/** Refusals of its input by all workers, after which the job is taken for wrong. */
const REFUSALS = 3;
const EXPORT_RESTARTS = 6;

export function factsOf(world: World): Facts {
  const { job, status, log, now } = world;
  const groups = groupPlans(world);
  const counts = new Map(groups.map((group) => [group.name, countsOf(group)]));
  const summary = log.answer?.type === 'known' ? log.answer.summary : null;
  const hasEnded = summary?.end != null;
  const total = totalOf([...counts.values()], summary);
  const present = world.workers.filter(({ leavesBy }) => leavesBy === null);
  const exporter = exporterOf(world);
  const troubles = (hasEnded ? (exporter ? [exporter] : []) : present)
    .flatMap((worker) => (worker.trouble ? [{ worker, trouble: worker.trouble }] : []))
    .sort((a, b) => urgency(a) - urgency(b) || (a.worker.name < b.worker.name ? -1 : 1));

  const suspended = conditionOf(status, CONDITIONS.suspended);
  // While the status still says suspended, its time is when that began: a job that is to go on does so from now.
  const since = suspended?.status === 'True' ? null : timeOf(suspended?.lastTransitionTime);
  const resumedAt = since ?? now;
  const run = runStatus(job.spec, status, log, timeText(now));
  const progressAt = Math.max(resumedAt, timeOf(run.progress?.updatedAt) ?? 0);
  const { activeDeadlineSeconds, progressDeadlineSeconds } = job.spec;
  const deadlineAt = activeDeadlineSeconds === undefined ? null : resumedAt + activeDeadlineSeconds * 1_000;
  const common = { groups, counts, total, summary, run, troubles, progressAt };
  const failure = hasEnded
    ? exportFailure(world)
    : (deadlineFailure(deadlineAt, now, activeDeadlineSeconds) ?? inputFailure(summary, world, present));
  const phase = phaseOf(world, hasEnded, failure !== null);
  const isShort = total.joined < job.spec.min || hasEnded;
  const stalling = isShort ? (troubles.find((one) => stalls(one) && patienceOf(one) <= now) ?? null) : null;
  const deadlines =
    phase === 'active' || phase === 'exporting'
      ? [
          ...(deadlineAt === null || hasEnded ? [] : [deadlineAt]),
          ...(hasEnded ? [] : [progressAt + progressDeadlineSeconds * 1_000]),
          ...(isShort ? troubles.filter(stalls).map(patienceOf) : []),
        ]
      : [];
  return {
    ...common,
    phase,
    hasStream: hasStream(world),
    failure: phase === 'failed' ? failure : null,
    stalling: phase === 'active' || phase === 'exporting' ? stalling : null,
    endedAt: hasEnded ? Math.max(progressAt, 0) : null,
    deadlines,
  };
}

/** A stream that vanished before anything was in it may be made again; after that it is the run that is lost. */
function hasStream({ status, stream, log }: World): boolean {
  if (stream === 'made') return true;
  const isGone = log.answer?.type === 'missing' && (status.round ?? 0) === 0;
  return status.stream !== undefined && !isGone;
}

function phaseOf(world: World, hasEnded: boolean, isFailed: boolean): Phase {
  const { job, status, log, stream } = world;
  if (job.metadata.deletionTimestamp !== undefined) return 'deleting';
  if (status.completionTime !== undefined) return 'finished';
  if (job.spec.suspend) return 'suspended';
  const isLogOld = status.stream !== undefined || stream === 'made';
  if (isLogOld && log.answer === null && log.problem === null) return 'unknown';
  if (isFailed) return 'failed';
  if (!hasEnded) return 'active';
  if (job.spec.output === undefined) return 'completed';
  return exporterOf(world)?.trouble?.kind === 'WorkerLeft' ? 'completed' : 'exporting';
}

/**
 * The pod that writes the model as the spec has it now: what came of one that was told something else does not count. One
 * that does not say what it was told was made by an operator that did not write it down: it is taken for current.
 */
export function exporterOf({ job, exporter }: World): Worker | null {
  return exporter?.template === '' || exporter?.template === exportHash(job) ? exporter : null;
}

function groupPlans({ job, workers }: World): GroupPlan[] {
  const groups = groupsOf(job.spec);
  const known = new Set(groups.map(({ name }) => name));
  const of = (name: string) => workers.filter(({ group }) => group === name);
  const gone = [...new Set(workers.map(({ group }) => group))].filter((name) => !known.has(name)).sort();
  return [
    ...groups.map((group) => ({
      name: group.name,
      desired: group.replicas,
      template: templateHash(job, group),
      workers: of(group.name),
    })),
    ...gone.map((name) => ({ name, desired: 0, template: '', workers: of(name) })),
  ];
}

function countsOf({ desired, workers }: GroupPlan): Counts {
  const present = workers.filter(({ leavesBy, isOver }) => leavesBy === null && !isOver);
  return {
    desired,
    created: present.length,
    ready: present.filter(({ isReady }) => isReady).length,
    joined: present.filter(({ isJoined }) => isJoined).length,
  };
}

/**
 * A worker has joined when both its pod and the log say so: the pod's word is the newer one about who is lost, the
 * log's about who is in.
 */
function totalOf(counts: readonly Counts[], summary: LogSummary | null): Counts {
  const sum = (name: keyof Counts) => counts.reduce((total, one) => total + one[name], 0);
  const members = summary === null ? Number.POSITIVE_INFINITY : summary.members;
  return {
    desired: sum('desired'),
    created: sum('created'),
    ready: sum('ready'),
    joined: Math.min(sum('joined'), members),
  };
}

function stalls({ trouble }: WorkerTrouble): boolean {
  return POLICIES[trouble.kind].stalls;
}

function patienceOf({ worker, trouble }: WorkerTrouble): number {
  return worker.createdAt + POLICIES[trouble.kind].patience;
}

const KINDS = Object.keys(POLICIES);
function urgency(one: WorkerTrouble): number {
  return (stalls(one) ? 0 : KINDS.length) + KINDS.indexOf(one.trouble.kind);
}

function deadlineFailure(
  deadlineAt: number | null,
  now: number,
  seconds: number | undefined,
): Facts['failure'] {
  if (deadlineAt === null || now < deadlineAt) return null;
  const message = `the run did not end within activeDeadlineSeconds, ${seconds} s; the log keeps what it reached`;
  return { reason: STATES.deadline, message };
}

/** All workers say that what they were given is wrong, again and again, and none ever trained: so is the job. */
function inputFailure(
  summary: LogSummary | null,
  { log }: World,
  present: readonly Worker[],
): Facts['failure'] {
  if ((summary?.rounds ?? 0) > 0 || log.problem !== null || present.length === 0) return null;
  const refuses = ({ trouble }: Worker) => trouble?.kind === 'InputRefused' && trouble.restarts >= REFUSALS;
  if (!present.every(refuses)) return null;
  const [first] = present;
  return { reason: STATES.invalidInput, message: `${first!.name}: ${first!.trouble!.detail}` };
}

function exportFailure(world: World): Facts['failure'] {
  const trouble = exporterOf(world)?.trouble;
  if (!trouble) return null;
  const limit = trouble.kind === 'InputRefused' ? REFUSALS : EXPORT_RESTARTS;
  if (trouble.restarts < limit) return null;
  const message = `the run ended, but its model cannot be written: ${trouble.detail}`;
  return { reason: STATES.exportFailed, message };
}

/** Times of a status that are set once. */
export function startTimeOf(status: Status, summary: LogSummary | null, now: string): string | undefined {
  if (status.startTime !== undefined) return status.startTime;
  return summary !== null && (summary.members > 0 || summary.rounds > 0) ? now : undefined;
}
