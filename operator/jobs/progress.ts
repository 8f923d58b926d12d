import type { Spec, Status } from '../../crds/job.ts';
import type { LogEvaluation, LogSummary } from './log-port.ts';
import type { LogView } from './world.ts';

/** The part of a status that comes from the log. */
export type RunStatus = Pick<
  Status,
  'round' | 'forwards' | 'examples' | 'payloadBytes' | 'loss' | 'evaluation' | 'progress'
>;

/** Rounds after which the run ends at the latest. */
export function plannedRounds({ stop, method }: Spec): number {
  const planned = method.plan.reduce((sum, { rounds }) => sum + rounds, 0);
  return stop.rounds > 0 ? Math.min(stop.rounds, planned) : planned;
}

/**
 * What the log's last record says, as the status has it. The time of the progress moves only when the numbers do, so
 * that it is also the time of the last sign of life; and a status that says the same is written once.
 */
export function runStatus(spec: Spec, previous: Status, log: LogView, now: string): RunStatus {
  if (log.answer?.type !== 'known') return carried(previous);
  const { summary } = log.answer;
  const { rounds, forwards, examples, payloadBytes, loss } = summary;
  const numbers: Omit<RunStatus, 'progress'> = {
    round: rounds,
    forwards,
    examples,
    payloadBytes,
    ...(loss !== null && { loss: decimal(loss) }),
    ...(summary.evaluation && { evaluation: evaluationStatus(spec, summary.evaluation) }),
  };
  const isSame =
    previous.progress?.updatedAt !== undefined &&
    previous.round === rounds &&
    previous.forwards === forwards &&
    previous.evaluation?.round === numbers.evaluation?.round &&
    (summary.end === null) === (previous.result === undefined);
  const progress = isSame
    ? previous.progress!
    : { ...progressStatus(spec, summary, log.roundMs), updatedAt: now };
  return { ...numbers, progress };
}

function carried({ round, forwards, examples, payloadBytes, loss, evaluation, progress }: Status): RunStatus {
  const values = { round, forwards, examples, payloadBytes, loss, evaluation, progress };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function progressStatus(
  spec: Spec,
  { rounds, forwards, end }: LogSummary,
  roundMs: number | null,
): NonNullable<Status['progress']> {
  if (end !== null) return { percent: 100, remainingSeconds: 0, eta: '0s' };
  const planned = plannedRounds(spec);
  const limit = spec.stop.forwards;
  const shares = [rounds / planned, ...(limit > 0 ? [forwards / limit] : [])];
  // 100 is for a run that has ended.
  const percent = Math.min(99, Math.floor(100 * Math.max(...shares)));
  if (roundMs === null || rounds === 0) return { percent };
  const left = [
    planned - rounds,
    ...(limit > 0 ? [((limit - forwards) * rounds) / Math.max(1, forwards)] : []),
  ];
  const remainingSeconds = Math.max(0, Math.ceil((Math.min(...left) * roundMs) / 1_000));
  return { percent, remainingSeconds, eta: durationText(remainingSeconds) };
}

function evaluationStatus({ stop }: Spec, evaluation: LogEvaluation): NonNullable<Status['evaluation']> {
  const { split, round, examples, loss, accuracy } = evaluation;
  const metric = stop.target?.metric ?? 'accuracy';
  const value = metric === 'loss' ? decimal(loss) : accuracy.toFixed(4);
  return { summary: `${metric} ${value}`, round, split, examples, metric, value, loss: decimal(loss) };
}

/** Four significant digits. */
export function decimal(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const text = value.toPrecision(4);
  return text.length > 12 ? value.toExponential(3) : text;
}

/** `45s`, `4m10s`, `3h05m`, `2d04h`. */
export function durationText(seconds: number): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const [minutes, hours, days] = [60, 3_600, 86_400].map((unit) => Math.floor(seconds / unit)) as [
    number,
    number,
    number,
  ];
  if (days > 0) return `${days}d${two(hours % 24)}h`;
  if (hours > 0) return `${hours}h${two(minutes % 60)}m`;
  if (minutes > 0) return `${minutes}m${two(seconds % 60)}s`;
  return `${seconds}s`;
}
