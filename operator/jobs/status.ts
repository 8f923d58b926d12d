import type { Status } from '../../crds/job.ts';
import { conditionsFrom, type Finding, type Findings, timeText } from './conditions.ts';
import { type Counts, type Facts, startTimeOf } from './facts.ts';
import type { LogSummary } from './log-port.ts';
import { COMPONENTS, LABELS, REASONS, STATES } from './names.ts';
import { POLICIES } from './trouble.ts';
import type { Setback, World } from './world.ts';

/** The status that a job should have. Made from the world alone, so that the same world gives the same status. */
export function statusOf(world: World, facts: Facts): Status {
  const { job, now } = world;
  const text = timeText(now);
  const generation = job.metadata.generation ?? 0;
  // What a finished job reached stays as it is: its pods go, and its log is followed no more.
  const previous = world.status;
  const isFinished = facts.phase === 'finished';
  const isOver = isFinished || facts.phase === 'failed' || facts.phase === 'completed';
  const startTime = startTimeOf(previous, facts.summary, text);
  const stream = previous.stream;
  return {
    observedGeneration: generation,
    conditions: conditionsFrom(
      isFinished ? finishedFindings(world, facts) : findings(world, facts),
      previous,
      generation,
      text,
    ),
    replicas: facts.counts.get('')?.created ?? 0,
    selector: selectorOf(job.metadata.name),
    workers: workersStatus(isOver ? { ...facts.total, joined: 0 } : facts.total),
    groups: [...facts.counts].map(([name, counts]) => ({ name, ...counts, ...(isOver && { joined: 0 }) })),
    ...facts.run,
    ...(isFinished ? previous.result && { result: previous.result } : resultOf(world, facts.summary)),
    ...(stream !== undefined && { stream }),
    ...(startTime !== undefined && { startTime }),
    ...(isOver && { completionTime: previous.completionTime ?? text }),
  };
}

/** Selects the workers of `spec.replicas`, for autoscalers. */
export function selectorOf(job: string): string {
  return `${LABELS.job}=${job},${LABELS.component}=${COMPONENTS.worker},${LABELS.group}=`;
}

function workersStatus(total: Counts): NonNullable<Status['workers']> {
  return { summary: `${total.joined}/${total.desired}`, ...total };
}

function resultOf({ job, status }: World, summary: LogSummary | null): Pick<Status, 'result'> {
  if (summary?.end == null) return status.result ? { result: status.result } : {};
  const { reason, digest } = summary.end;
  const { output } = job.spec;
  const folder = output?.uri.replace(/\/$/, '');
  const journal = folder === undefined ? status.stream : `${folder}/journal.onebyte`;
  return {
    result: {
      ...(digest !== '' && { digest }),
      reason,
      ...(folder !== undefined && { location: folder }),
      ...(journal !== undefined && { journal }),
    },
  };
}

function findings(world: World, facts: Facts): Findings {
  const stalled = stalledFinding(world, facts);
  return {
    Succeeded: succeededFinding(world, facts),
    Ready: readyFinding(world, facts),
    Reconciling: reconcilingFinding(world, facts),
    Stalled: stalled,
    Suspended: suspendedFinding(world, facts),
    Scaled: scaledFinding(world, facts),
  };
}

/** All stay as they were when the job finished, but for the one that says whether its pods have ended. */
function finishedFindings(world: World, facts: Facts): Findings {
  const kept = Object.fromEntries((world.status.conditions ?? []).map((one) => [one.type, one]));
  return { ...findings(world, facts), ...kept, Reconciling: reconcilingFinding(world, facts) };
}

const yes = (reason: string, message: string): Finding => ({ status: 'True', reason, message });
const no = (reason: string, message: string): Finding => ({ status: 'False', reason, message });
const unknown = (reason: string, message: string): Finding => ({ status: 'Unknown', reason, message });

function succeededFinding({ job }: World, { phase, failure, summary, total }: Facts): Finding {
  const { min } = job.spec;
  switch (phase) {
    case 'failed':
      return no(failure!.reason, failure!.message);
    case 'completed': {
      const after = `after ${summary!.rounds} rounds`;
      return summary!.end!.reason === 'cancelled'
        ? yes(STATES.cancelled, `the run was ended ${after} on request`)
        : yes(STATES.completed, `the run ended ${after}, by ${summary!.end!.reason}`);
    }
    case 'exporting':
      return unknown(
        STATES.exporting,
        `the run has ended; its model is being written to ${job.spec.output!.uri}`,
      );
    case 'suspended':
      return unknown(
        STATES.suspended,
        'spec.suspend is set; the log stays, and the run goes on where it stopped',
      );
    default:
      if (total.joined >= min) return unknown(STATES.running, 'training goes on');
      if ((summary?.rounds ?? 0) === 0)
        return unknown(
          STATES.pending,
          `waiting for the first workers: ${total.joined} of ${min} have joined`,
        );
      return unknown(
        STATES.waiting,
        `training waits: ${total.joined} of at least ${min} workers have joined`,
      );
  }
}

function readyFinding({ job, log }: World, { phase, total }: Facts): Finding {
  if (phase === 'suspended') return no(REASONS.suspended, 'spec.suspend is set');
  if (phase === 'failed' || phase === 'completed' || phase === 'exporting')
    return no(REASONS.finished, 'the run has ended');
  if (log.problem !== null) return unknown(REASONS.logUnknown, `the log cannot be read: ${log.problem}`);
  const message = `${total.joined} workers have joined, at least ${job.spec.min} are needed`;
  return total.joined >= job.spec.min ? yes(REASONS.enough, message) : no(REASONS.tooFew, message);
}

function reconcilingFinding({ workers, missing, status, stream }: World, facts: Facts): Finding {
  const { phase, total } = facts;
  const leaving = workers.filter(({ leavesBy }) => leavesBy !== null).length;
  if (phase === 'active') {
    if (status.stream === undefined && stream !== 'made')
      return yes(REASONS.scaling, 'the log is being made');
    if (missing.length > 0) return yes(REASONS.scaling, `being made: ${missing.join(', ')}`);
    if (total.created !== total.desired || leaving > 0 || outdatedOf(facts) > 0)
      return yes(REASONS.scaling, `${total.created} of ${total.desired} workers, ${leaving} leaving`);
  } else if (total.created > 0 || leaving > 0)
    return yes(REASONS.ending, `${total.created + leaving} workers are ending`);
  return no(REASONS.settled, 'everything is as the spec says');
}

function outdatedOf({ groups }: Facts): number {
  return groups.reduce(
    (sum, { template, workers }) => sum + workers.filter((worker) => worker.template !== template).length,
    0,
  );
}

function stalledFinding(world: World, facts: Facts): Finding {
  const { job, setbacks, log, now, status } = world;
  const { phase, failure, stalling, total, progressAt } = facts;
  if (phase === 'failed') return yes(failure!.reason, failure!.message);
  if (phase !== 'active' && phase !== 'exporting') return no(REASONS.notStalled, 'nothing is in the way');
  if (!facts.hasStream && setbacks.stream !== null)
    return yes(setbacks.stream.reason, setbacks.stream.message);
  if (log.answer?.type === 'missing' && (status.round ?? 0) > 0)
    return yes(REASONS.logLost, `the stream ${status.stream} is gone from the server, and the run with it`);
  const isShort = total.joined < job.spec.min || phase === 'exporting';
  const setback = isShort ? setbackOf(world, facts) : null;
  if (setback !== null) return yes(setback.reason, setback.message);
  if (stalling !== null) {
    const { worker, trouble } = stalling;
    return yes(
      trouble.kind,
      `${worker.name}: ${trouble.detail}. What to do: ${POLICIES[trouble.kind].advice}`,
    );
  }
  const limit = job.spec.progressDeadlineSeconds;
  const isQueued = facts.troubles.some(({ trouble }) => trouble.kind === 'SchedulingGated');
  if (phase === 'active' && now >= progressAt + limit * 1_000 && !isQueued)
    return yes(REASONS.noProgress, `no round within progressDeadlineSeconds, ${limit} s`);
  return no(REASONS.notStalled, 'nothing is in the way');
}

/** The refusal that holds the job up. One of what is there by now is over, though no call of ours has said so. */
function setbackOf({ missing, setbacks, exporter }: World, { phase, total }: Facts): Setback | null {
  if (setbacks.children !== null && missing.length > 0) return setbacks.children;
  const lacksPods = phase === 'exporting' ? exporter === null : total.created < total.desired;
  return lacksPods ? setbacks.pods : null;
}

function suspendedFinding({ job, workers, exporter }: World, { phase }: Facts): Finding {
  if (!job.spec.suspend || phase === 'failed' || phase === 'completed')
    return no(REASONS.active, 'spec.suspend is not set');
  const left = workers.length + (exporter ? 1 : 0);
  if (left > 0) return no(REASONS.suspending, `${left} pods are leaving`);
  return yes(REASONS.suspended, 'no pod is left');
}

function scaledFinding(world: World, facts: Facts): Finding {
  const { job, workers, setbacks } = world;
  const { phase, total, troubles } = facts;
  if (phase === 'suspended') return yes(REASONS.suspended, 'spec.suspend is set: no workers');
  if (phase !== 'active') return yes(REASONS.finished, 'the run has ended: no workers are needed');
  const leaving = workers.filter(({ leavesBy }) => leavesBy !== null).length;
  const { desired, created, ready } = total;
  if (created > desired || (created === desired && leaving > 0))
    return no(REASONS.scalingDown, `${created} of ${desired} workers, ${leaving} leaving`);
  if (created < desired && setbacks.pods !== null) return no(setbacks.pods.reason, setbacks.pods.message);
  if (ready < desired) {
    const [first] = troubles;
    if (first === undefined) return no(REASONS.scalingUp, `${ready} of ${desired} workers are ready`);
    const { worker, trouble } = first;
    return no(trouble.kind, `${ready} of ${desired} workers are ready; ${worker.name}: ${trouble.detail}`);
  }
  const outdated = outdatedOf(facts);
  if (outdated > 0) return no(REASONS.replacing, `${outdated} workers are of an older template`);
  if (desired >= job.spec.max) return yes(REASONS.atMax, `${ready} workers, as many as max allows`);
  if (desired <= job.spec.min) return yes(REASONS.atMin, `${ready} workers, as few as min allows`);
  return yes(REASONS.stable, `${ready} of ${desired} workers`);
}
