import type { Status } from '../../crds/job.ts';
import type { ChildKind } from './children.ts';
import { conditionOf } from './conditions.ts';
import { exporterOf, type Facts, factsOf } from './facts.ts';
import { hasFinalizer, keepsStream, roomOf } from './job.ts';
import { CONDITIONS } from './names.ts';
import { workerName } from './pod.ts';
import { type NewWorker, planScale, type Why } from './scale.ts';
import { statusOf } from './status.ts';
import { waitAfter } from './trouble.ts';
import type { Worker } from './worker.ts';
import type { Setback, World } from './world.ts';

export type Action =
  | { readonly type: 'add-finalizer' }
  | { readonly type: 'remove-finalizer' }
  | { readonly type: 'create-stream' }
  | { readonly type: 'widen-stream' }
  | { readonly type: 'remove-stream' }
  | { readonly type: 'ensure-child'; readonly kind: ChildKind }
  | { readonly type: 'create-pod'; readonly worker: NewWorker }
  | {
      readonly type: 'remove-pod';
      readonly worker: Worker;
      readonly why: Why | 'suspended' | 'ended' | 'deleted';
    }
  | { readonly type: 'replace-pod'; readonly worker: Worker; readonly failures: number }
  | { readonly type: 'create-export' }
  | { readonly type: 'delete-job' };

export interface Plan {
  readonly actions: readonly Action[];
  /** The job's status; null: leave it as it is. */
  readonly status: Status | null;
  /** Whether the log is to be followed. */
  readonly followsLog: boolean;
  /** Milliseconds until there may be something to do although nothing happens; null: never. */
  readonly again: number | null;
}

/** Workers get so long to end by themselves after their run has. */
const END_GRACE = 60_000;
/** Pods that cannot be ended, as their node is lost, hold a job's deletion up for so long. */
const DELETE_GRACE = 90_000;

/**
 * What to do for a job, and what to say of it. Pure, and step by step: after its actions, plan again, until there are
 * none; then the status is the one to write.
 */
export function plan(world: World): Plan {
  const facts = factsOf(world);
  switch (facts.phase) {
    case 'deleting':
      return planDeletion(world);
    case 'finished':
      return planFinished(world, facts);
    case 'suspended':
      return withStatus(world, facts, removals(world, 'suspended'));
    case 'unknown':
      return { actions: [], status: null, followsLog: true, again: null };
    case 'failed':
      // Told first: what remains is taken away by the next plan.
      return withStatus(world, facts, []);
    case 'exporting': {
      const { actions, waits } = exports(world);
      return withStatus(world, facts, [...actions, ...leftOvers(world, facts)], waits);
    }
    case 'completed':
      return withStatus(world, facts, []);
    case 'active':
      return planActive(world, facts);
  }
}

function withStatus(
  world: World,
  facts: Facts,
  actions: readonly Action[],
  waits: readonly number[] = [],
): Plan {
  const all = [...waits, ...facts.deadlines.map((at) => at - world.now)].filter((wait) => wait > 0);
  return {
    actions,
    status: statusOf(world, facts),
    followsLog: facts.phase === 'active' || facts.phase === 'exporting',
    again: all.length === 0 ? null : Math.min(...all),
  };
}

function planActive(world: World, facts: Facts): Plan {
  const { job, setbacks, now } = world;
  if (!hasFinalizer(job)) return withStatus(world, facts, [{ type: 'add-finalizer' }]);
  const generation = job.metadata.generation ?? 0;
  if (!facts.hasStream) {
    const wait = retryIn(setbacks.stream, now, 0);
    return withStatus(world, facts, wait > 0 ? [] : [{ type: 'create-stream' }], [wait]);
  }
  const furnish = furnishing(world);
  const widen = widening(world);
  const actions: Action[] = [...widen.actions, ...furnish.actions];
  const scaling = planScale(facts.groups, {
    now,
    isRunKnown: world.log.problem === null && world.log.answer !== null,
    nameOf: (group, index) => {
      const name = workerName(job.metadata.name, group, index);
      return world.taken.has(name) ? null : name;
    },
  });
  const podWait = retryIn(setbacks.pods, now, generation);
  for (const action of scaling.actions) {
    const makes = action.type !== 'remove';
    if (makes && (podWait > 0 || furnish.isHeld)) continue;
    if (action.type === 'create') actions.push({ type: 'create-pod', worker: action.worker });
    else if (action.type === 'remove') actions.push({ ...action, type: 'remove-pod' });
    else actions.push({ ...action, type: 'replace-pod' });
  }
  const isHeld = scaling.actions.some(({ type }) => type !== 'remove');
  const waits = [...(isHeld ? [podWait] : []), ...furnish.waits, ...widen.waits];
  return withStatus(world, facts, actions, scaling.again === null ? waits : [...waits, scaling.again]);
}

interface Step {
  readonly actions: readonly Action[];
  readonly waits: readonly number[];
}

/** A log has room for the most workers that the job may have, and copies: it gets what it lacks when these are changed. */
function widening({ job, room, log, setbacks, now }: World): Step {
  const isThere = log.answer !== null && log.answer.type !== 'missing';
  const wanted = roomOf(job);
  const isWide = wanted.workers <= room.workers && wanted.copies === room.copies;
  if (!isThere || isWide) return { actions: [], waits: [] };
  const wait = retryIn(setbacks.room, now, job.metadata.generation ?? 0);
  return wait > 0 ? { actions: [], waits: [wait] } : { actions: [{ type: 'widen-stream' }], waits: [] };
}

/** The objects beside the pods. Pods wait for those that they need. */
function furnishing({ job, missing, setbacks, now }: World): Step & { readonly isHeld: boolean } {
  const wait = missing.length === 0 ? 0 : retryIn(setbacks.children, now, job.metadata.generation ?? 0);
  if (wait <= 0)
    return { actions: missing.map((kind) => ({ type: 'ensure-child', kind })), waits: [], isHeld: false };
  const isHeld = missing.includes('ConfigMap') || missing.includes('ServiceAccount');
  return { actions: [], waits: [wait], isHeld };
}

/** Milliseconds until a call that was refused is made again; 0: now. */
function retryIn(setback: Setback | null, now: number, generation: number): number {
  if (setback === null || (generation > 0 && setback.generation !== generation)) return 0;
  return Math.max(0, setback.at + waitAfter(setback.attempts) - now);
}

/** The export pod: made, and made again when its node took it away or it is to be another one. */
function exports(world: World): Step {
  const { job, exporter, setbacks, now } = world;
  const furnish = furnishing(world);
  if (exporter === null) {
    const wait = Math.max(retryIn(setbacks.pods, now, job.metadata.generation ?? 0), furnish.isHeld ? 1 : 0);
    if (wait > 0) return { actions: furnish.actions, waits: [wait, ...furnish.waits] };
    return { actions: [...furnish.actions, { type: 'create-export' }], waits: [] };
  }
  if (exporter.leavesBy !== null) return furnish;
  if (exporterOf(world) === null)
    return {
      ...furnish,
      actions: [...furnish.actions, { type: 'remove-pod', worker: exporter, why: 'outdated' }],
    };
  if (!exporter.isOver) return furnish;
  const wait = exporter.overAt + waitAfter(exporter.trouble?.kind === 'Evicted' ? 0 : 1) - now;
  if (wait > 0) return { actions: furnish.actions, waits: [wait] };
  return { actions: [...furnish.actions, { type: 'remove-pod', worker: exporter, why: 'over' }], waits: [] };
}

/** Workers that should have ended by themselves. */
function leftOvers(world: World, facts: Facts): Action[] {
  if (facts.endedAt === null || world.now < facts.endedAt + END_GRACE) return [];
  return world.workers
    .filter(({ isOver, leavesBy }) => !isOver && leavesBy === null)
    .map((worker) => ({ type: 'remove-pod', worker, why: 'ended' }));
}

function planFinished(world: World, facts: Facts): Plan {
  const { job, status, now } = world;
  const completedAt = Date.parse(status.completionTime!);
  const isFailed = conditionOf(status, CONDITIONS.succeeded)?.status === 'False';
  const living = podsOf(world).filter(({ isOver, leavesBy }) => !isOver && leavesBy === null);
  const actions: Action[] = [];
  const waits: number[] = [];
  if (living.length > 0 && (isFailed || now >= completedAt + END_GRACE))
    actions.push(...living.map((worker): Action => ({ type: 'remove-pod', worker, why: 'ended' })));
  else if (living.length > 0) waits.push(completedAt + END_GRACE - now);
  const ttl = job.spec.ttlSecondsAfterFinished;
  if (ttl !== undefined) {
    const wait = completedAt + ttl * 1_000 - now;
    if (wait <= 0) actions.push({ type: 'delete-job' });
    else waits.push(wait);
  }
  const again = waits.length === 0 ? null : Math.min(...waits);
  return { actions, status: statusOf(world, facts), followsLog: false, again };
}

function planDeletion(world: World): Plan {
  const { job, now, setbacks } = world;
  const quiet = { status: null, followsLog: false };
  if (!hasFinalizer(job)) return { ...quiet, actions: [], again: null };
  const actions = removals(world, 'deleted');
  if (actions.length > 0) return { ...quiet, actions, again: null };
  const patience = Date.parse(job.metadata.deletionTimestamp!) + DELETE_GRACE - now;
  if (podsOf(world).length > 0 && patience > 0) return { ...quiet, actions: [], again: patience };
  if (world.stream === 'gone' || keepsStream(job))
    return { ...quiet, actions: [{ type: 'remove-finalizer' }], again: null };
  const wait = retryIn(setbacks.stream, now, 0);
  if (wait > 0) return { ...quiet, actions: [], again: wait };
  return { ...quiet, actions: [{ type: 'remove-stream' }], again: null };
}

function podsOf({ workers, exporter }: World): readonly Worker[] {
  return exporter === null ? workers : [...workers, exporter];
}

/** Every pod that is not going already, over or not. */
function removals(world: World, why: 'suspended' | 'deleted'): Action[] {
  return podsOf(world)
    .filter(({ leavesBy }) => leavesBy === null)
    .map((worker) => ({ type: 'remove-pod', worker, why }));
}
