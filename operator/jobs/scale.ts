import { waitAfter } from './trouble.ts';
import type { Worker } from './worker.ts';

/** One group of workers as it is and as it should be. */
export interface GroupPlan {
  readonly name: string;
  readonly desired: number;
  /** What the template of a new pod is made from; empty for a group that is no more. */
  readonly template: string;
  readonly workers: readonly Worker[];
}

export interface NewWorker {
  readonly group: string;
  readonly index: number;
  readonly name: string;
  readonly failures: number;
}

export type Why = 'surplus' | 'outdated' | 'over';

export type ScaleAction =
  | { readonly type: 'create'; readonly worker: NewWorker }
  | { readonly type: 'remove'; readonly worker: Worker; readonly why: Why }
  /** The old pod goes and one of the same name comes. */
  | { readonly type: 'replace'; readonly worker: Worker; readonly failures: number };

export interface ScaleOptions {
  readonly now: number;
  /** Name of a pod; null where somebody else has a pod of that name. */
  nameOf(group: string, index: number): string | null;
  /** Whether it is certain that the run goes on, so that workers that left are missing. */
  readonly isRunKnown: boolean;
}

export interface Scaling {
  readonly actions: readonly ScaleAction[];
  /** Milliseconds until there may be more to do although nothing happens; null: never. */
  readonly again: number | null;
}

/** A worker that ran for so long before it failed starts a new count of failures. */
const LONG_RUN = 600_000;
/** A worker leaves when its run ends: first see whether the log says so. */
const LEFT_WAIT = 15_000;
/** A leave may take a little longer than its pod's grace; after that its node is taken for lost. */
const LEAVE_SLACK = 10_000;

/**
 * Brings each group to its number of workers. Those that have joined go one at a time over all groups, so that the run
 * sees every leave in a record of its own; the rest go at once.
 */
export function planScale(groups: readonly GroupPlan[], options: ScaleOptions): Scaling {
  const { now, nameOf, isRunKnown } = options;
  const actions: ScaleAction[] = [];
  const waits: number[] = [];
  const all = groups.flatMap(({ workers }) => workers);
  const leavers = all.filter(({ leavesBy }) => leavesBy !== null && leavesBy + LEAVE_SLACK > now);
  let mayLeave = leavers.length === 0;
  for (const leaver of leavers) waits.push(leaver.leavesBy! + LEAVE_SLACK - now);

  /** Joined workers wait for their turn. */
  const remove = (worker: Worker, why: Why): boolean => {
    if (worker.isJoined && !mayLeave) return false;
    if (worker.isJoined) mayLeave = false;
    actions.push({ type: 'remove', worker, why });
    return true;
  };

  for (const group of groups) {
    const present = group.workers.filter(({ leavesBy }) => leavesBy === null);
    const order = [...present].sort((a, b) => compareVictims(a, b, group.template));
    const surplus = order.splice(0, Math.max(0, present.length - group.desired));
    for (const worker of surplus) remove(worker, worker.isOver ? 'over' : 'surplus');

    for (const worker of order.filter(({ isOver }) => isOver)) {
      const failures = failuresAfter(worker);
      const hasLeft = worker.trouble?.kind === 'WorkerLeft';
      if (hasLeft && !isRunKnown) continue;
      const pause = Math.max(waitAfter(failures - 1), hasLeft ? LEFT_WAIT : 0);
      const wait = isOutdated(worker, group) ? 0 : worker.overAt + pause - now;
      if (wait <= 0) actions.push({ type: 'replace', worker, failures });
      else waits.push(wait);
    }
    const missing = group.desired - present.length;
    if (missing > 0) actions.push(...creations(group, missing, nameOf));

    const outdated = order.filter((worker) => !worker.isOver && isOutdated(worker, group));
    const isWhole = missing <= 0 && order.every(({ isJoined }) => isJoined);
    for (const worker of outdated) {
      // A new template is tried on one worker before the next one has to go.
      if (worker.isJoined && !isWhole) continue;
      remove(worker, 'outdated');
    }
  }
  return { actions, again: waits.length === 0 ? null : Math.max(1, Math.min(...waits)) };
}

function creations(group: GroupPlan, missing: number, nameOf: ScaleOptions['nameOf']): ScaleAction[] {
  const used = new Set(group.workers.map(({ index }) => index));
  const actions: ScaleAction[] = [];
  for (let index = 0; actions.length < missing; index++) {
    const name = used.has(index) ? null : nameOf(group.name, index);
    if (name !== null)
      actions.push({ type: 'create', worker: { group: group.name, index, name, failures: 0 } });
  }
  return actions;
}

function isOutdated(worker: Worker, group: GroupPlan): boolean {
  return worker.template !== group.template;
}

/** Failures in a row up to and with this one; a disruption is none. */
function failuresAfter({ trouble, failures, createdAt, overAt }: Worker): number {
  if (trouble?.kind === 'Evicted' || trouble?.kind === 'NodeLost') return failures;
  return (overAt - createdAt >= LONG_RUN ? 0 : failures) + 1;
}

/** Who goes first: those that are over, that have not joined, that are outdated; of each the newest. */
function compareVictims(a: Worker, b: Worker, template: string): number {
  const rank = ({ isOver, isJoined, isReady, template: own }: Worker) =>
    (isOver ? 0 : isJoined ? 6 : isReady ? 4 : 2) + (own === template ? 1 : 0);
  return rank(a) - rank(b) || b.createdAt - a.createdAt || b.index - a.index;
}
