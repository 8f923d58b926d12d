import type { Status } from '../../crds/job.ts';
import type { Occurrence } from '../kube/mod.ts';
import { type Condition, conditionOf } from './conditions.ts';
import { CONDITIONS, type ConditionType, EVENTS, STATES } from './names.ts';

/** What a person would want to be told when a status becomes another one. */
export function occurrencesOf(before: Status, after: Status): Occurrence[] {
  const all: Occurrence[] = [];
  const note = (type: Occurrence['type'], reason: string, text: string) =>
    all.push({ type, reason, action: 'Reconcile', note: text });
  /** A condition that has become another one, which is no news where there was none before. */
  const turned = (type: ConditionType, status: Condition['status']): Condition | undefined => {
    const now = conditionOf(after, type);
    const then = conditionOf(before, type);
    return now?.status === status && then !== undefined && then.status !== status ? now : undefined;
  };

  if (before.startTime === undefined && after.startTime !== undefined)
    note('Normal', EVENTS.started, 'the first worker has joined');
  const ready = turned(CONDITIONS.ready, 'True');
  if (ready) note('Normal', EVENTS.quorum, ready.message);
  const short = turned(CONDITIONS.ready, 'False');
  if (short?.reason === 'TooFewWorkers') note('Warning', EVENTS.quorumLost, short.message);
  const suspended = conditionOf(after, CONDITIONS.suspended);
  if (suspended?.status === 'True' && conditionOf(before, CONDITIONS.suspended)?.status !== 'True')
    note('Normal', EVENTS.suspended, suspended.message);
  if (turned(CONDITIONS.suspended, 'False'))
    note('Normal', EVENTS.resumed, 'the run goes on where it stopped');

  const succeeded = conditionOf(after, CONDITIONS.succeeded);
  const isEnd = before.completionTime === undefined && after.completionTime !== undefined;
  if (isEnd && succeeded?.status === 'True') note('Normal', EVENTS.completed, succeeded.message);
  if (isEnd && succeeded?.status === 'False')
    note('Warning', EVENTS.failed, `${succeeded.reason}: ${succeeded.message}`);
  const stalled = conditionOf(after, CONDITIONS.stalled);
  const was = conditionOf(before, CONDITIONS.stalled);
  if (!isEnd && stalled?.status === 'True' && was?.reason !== stalled.reason)
    note('Warning', EVENTS.stalled, `${stalled.reason}: ${stalled.message}`);
  if (turned(CONDITIONS.stalled, 'False') && succeeded?.reason !== STATES.suspended)
    note('Normal', EVENTS.unstalled, 'the job goes on');
  return all;
}
