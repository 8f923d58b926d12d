/** What the live view knows of a run, and how each observation changes it. Pure: time comes in as a number. */
import {
  type JoinObserved,
  type LeaveObserved,
  type Observed,
  type Pooled,
  pool,
  type ResumedObserved,
  type RoundObserved,
  type ViewJob,
} from './events.ts';
import { count, loss, metric } from './format.ts';
import { type Plan, stageAt } from './plan.ts';
import { EMPTY, push, type Series } from './series.ts';
import { printable } from './text.ts';

export interface MemberRow {
  readonly slot: number;
  readonly name: string;
  readonly group: string;
  readonly state: 'in' | 'left' | 'lost';
  readonly probes: number;
  readonly missed: number;
  /** The last round it took part in; -1: none yet. */
  readonly last: number;
  /** Probes of its latest rounds, oldest first; 0: missed. */
  readonly recent: readonly number[];
}

export type Tone = 'info' | 'good' | 'warning' | 'error';

export interface EventLine {
  /** Milliseconds by the view's clock. */
  readonly at: number;
  readonly tone: Tone;
  readonly text: string;
}

export interface Evaluated {
  readonly round: number;
  readonly splits: readonly Pooled[];
}

interface PaceSample {
  readonly at: number;
  readonly rounds: number;
  readonly examples: number;
}

export interface ViewModel {
  readonly job: ViewJob;
  readonly plan: Plan;
  readonly startedAt: number;
  readonly phase: { readonly text: string; readonly share: number | undefined } | null;
  readonly weights: number;
  readonly trained: readonly number[];
  /** Rounds applied; also the number of the round under way. */
  readonly rounds: number;
  /** Rounds seen by this view, which counts those done again too. */
  readonly seen: number;
  readonly stage: number;
  /** When the stage under way began, and with which round; for its pace. */
  readonly stageBegan: { readonly at: number; readonly round: number };
  readonly loss: Series;
  readonly firstLoss: number;
  /** Moving average of the loss within the stage; NaN before the first. */
  readonly smoothLoss: number;
  readonly evaluated: readonly Evaluated[];
  readonly members: readonly MemberRow[];
  readonly forwards: number;
  readonly examples: number;
  readonly payloadBytes: number;
  readonly recordBytes: number;
  readonly wireBytes: number;
  readonly journalBytes: number;
  readonly pace: readonly PaceSample[];
  readonly events: readonly EventLine[];
}

const RECENT_ROUNDS = 32;
const KEPT_EVENTS = 50;
const KEPT_EVALUATIONS = 512;
/** Speeds are those of about this long. */
const PACE_MS = 10_000;
const PACE_STEP_MS = 250;
/** Weight of the newest round in the moving average: about the last 20 rounds count. */
const SMOOTHING = 2 / 21;

export function initial(job: ViewJob, plan: Plan, at: number): ViewModel {
  return {
    job: { name: printable(job.name), model: printable(job.model) },
    plan,
    startedAt: at,
    phase: null,
    weights: Number.NaN,
    trained: [],
    rounds: 0,
    seen: 0,
    stage: 0,
    stageBegan: { at, round: 0 },
    loss: EMPTY,
    firstLoss: Number.NaN,
    smoothLoss: Number.NaN,
    evaluated: [],
    members: [],
    forwards: 0,
    examples: 0,
    payloadBytes: 0,
    recordBytes: 0,
    wireBytes: Number.NaN,
    journalBytes: Number.NaN,
    pace: [{ at, rounds: 0, examples: 0 }],
    events: [],
  };
}

/** The model after `observed`, seen at `at` milliseconds. Takes any order of observations, and never throws. */
export function update(model: ViewModel, observed: Observed, at: number): ViewModel {
  switch (observed.type) {
    case 'phase':
      return { ...model, phase: { text: printable(observed.text), share: observed.share } };
    case 'model':
      return { ...model, weights: observed.weights, trained: [...observed.trained] };
    case 'totals':
      return {
        ...model,
        wireBytes: observed.wireBytes ?? model.wireBytes,
        journalBytes: observed.journalBytes ?? model.journalBytes,
      };
    case 'notice':
      return say(model, at, observed.level, observed.text);
    case 'join':
      return joined(model, observed, at);
    case 'leave':
      return gone(model, observed, at);
    case 'dispute': {
      const what = observed.reason === 'bytes' ? 'finds its bytes changed' : 'has another digest';
      const text = `${nameOf(model, observed.slot)} ${what} in round ${observed.round} (proposer ${observed.proposer})`;
      return say(model, at, 'error', text);
    }
    case 'divergence':
      return say(
        model,
        at,
        'error',
        `${nameOf(model, observed.slot)} diverged by round ${observed.round}, first in ${observed.tensor}`,
      );
    case 'resumed':
      return resumed(model, observed, at);
    case 'round':
      return applied(model, observed, at);
  }
}

/** What lies behind counts, but is no event of now, and says nothing of today's pace. */
function resumed(model: ViewModel, { observed }: ResumedObserved, at: number): ViewModel {
  const behind = observed.reduce((so, seen) => update(so, seen, at), model);
  const next: ViewModel = {
    ...behind,
    phase: model.phase,
    stageBegan: { at, round: behind.rounds },
    pace: [{ at, rounds: behind.seen, examples: behind.examples }],
    events: model.events,
  };
  return behind.seen === model.seen
    ? next
    : say(next, at, 'info', `goes on from round ${count(behind.rounds)}`);
}

function say(model: ViewModel, at: number, tone: Tone, text: string): ViewModel {
  const line: EventLine = { at, tone, text: printable(text) };
  return { ...model, events: [...model.events, line].slice(-KEPT_EVENTS) };
}

function nameOf(model: ViewModel, slot: number): string {
  return model.members.find((member) => member.slot === slot)?.name ?? `slot ${slot}`;
}

/** A name for the event lines, with its group where that says more. */
export function called(name: string, group: string): string {
  return group === '' || name.includes(group) ? name : `${name} (${group})`;
}

function joined(model: ViewModel, { slot, name, group }: JoinObserved, at: number): ViewModel {
  const label = printable(name) || `slot ${slot}`;
  const party = printable(group);
  const same = (row: MemberRow): boolean => row.name === label && row.group === party && row.state !== 'in';
  // A worker that comes back under its name carries on with its row.
  const old = model.members.find((row) => row.slot === slot) ?? model.members.find(same);
  const row: MemberRow =
    old === undefined
      ? { slot, name: label, group: party, state: 'in', probes: 0, missed: 0, last: -1, recent: [] }
      : { ...old, slot, name: label, group: party, state: 'in' };
  const members =
    old === undefined ? [...model.members, row] : model.members.map((was) => (was === old ? row : was));
  const verb = old !== undefined && old.probes > 0 ? 'is back' : 'joined';
  return say({ ...model, members }, at, 'good', `${called(label, party)} ${verb}`);
}

function gone(model: ViewModel, { slot, why }: LeaveObserved, at: number): ViewModel {
  const row = model.members.find((member) => member.slot === slot);
  if (row === undefined || row.state !== 'in') return model;
  const twin = model.members.some(
    (other) => other !== row && other.state === 'in' && other.name === row.name,
  );
  const members = twin
    ? model.members.filter((other) => other !== row)
    : model.members.map((other) => (other === row ? { ...row, state: why } : other));
  const text = `${called(row.name, row.group)} ${why === 'left' ? 'left' : 'is lost'} after ${count(row.probes)} probes`;
  return say({ ...model, members }, at, why === 'left' ? 'info' : 'warning', text);
}

function applied(model: ViewModel, seen: RoundObserved, at: number): ViewModel {
  if (!Number.isSafeInteger(seen.round) || seen.round < 0) return model;
  const stage = stageAt(model.plan, seen.round);
  const planned = model.plan.stages[stage];
  const entered = stage !== model.stage;
  let next: ViewModel = { ...model, phase: null };
  if (model.seen === 0) next = { ...next, stageBegan: { at, round: seen.round } };
  if (entered) {
    next = { ...next, stage, stageBegan: { at, round: seen.round }, smoothLoss: Number.NaN };
    if (planned !== undefined && model.seen > 0) {
      next = say(next, at, 'info', `stage ${stage + 1} begins: ${planned.label}`);
    }
  }
  const before = next.smoothLoss;
  const smooth = Number.isNaN(before) ? seen.loss : before + SMOOTHING * (seen.loss - before);
  next = {
    ...next,
    rounds: seen.final === true ? seen.round : seen.round + 1,
    seen: next.seen + (seen.final === true ? 0 : 1),
    loss: push(next.loss, seen.round, seen.loss),
    firstLoss: Number.isFinite(next.firstLoss) ? next.firstLoss : seen.loss,
    smoothLoss: Number.isFinite(seen.loss) ? smooth : before,
    members: took(next.members, seen),
    forwards: next.forwards + seen.forwards,
    examples: next.examples + seen.examples,
    payloadBytes: next.payloadBytes + seen.payloadBytes,
    recordBytes: next.recordBytes + (seen.recordBytes ?? 0),
  };
  const pooled = pool(seen.evaluations ?? []);
  if (pooled.length > 0) next = evaluated(next, { round: seen.round, splits: pooled }, at);
  return { ...next, pace: paced(next, entered, at) };
}

/** Rounds of another stage cost something else, so the speed is that of this stage alone. */
function paced({ pace, seen, examples }: ViewModel, entered: boolean, at: number): readonly PaceSample[] {
  const sample = { at, rounds: seen, examples };
  if (entered) return [sample];
  if (at - pace.at(-1)!.at < PACE_STEP_MS) return pace;
  const old = pace.findLastIndex((past) => at - past.at >= PACE_MS);
  return [...pace.slice(Math.max(0, old)), sample];
}

function took(members: readonly MemberRow[], seen: RoundObserved): MemberRow[] {
  const rows = new Map(members.map((row) => [row.slot, row]));
  for (const { slot, probes } of seen.members) {
    const known = rows.get(slot);
    const row: MemberRow = known ?? {
      slot,
      name: `slot ${slot}`,
      group: '',
      state: 'in',
      probes: 0,
      missed: 0,
      last: -1,
      recent: [],
    };
    const ran = probes > 0;
    rows.set(slot, {
      ...row,
      probes: row.probes + (ran ? probes : 0),
      missed: row.missed + (ran ? 0 : 1),
      last: ran ? seen.round : row.last,
      recent: [...row.recent, ran ? probes : 0].slice(-RECENT_ROUNDS),
    });
  }
  return [...rows.values()];
}

function evaluated(model: ViewModel, entry: Evaluated, at: number): ViewModel {
  const next = { ...model, evaluated: [...model.evaluated, entry].slice(-KEPT_EVALUATIONS) };
  const shown = best(entry.splits);
  if (shown === undefined) return next;
  const figures = `loss ${loss(shown.loss)}, accuracy ${metric(shown.accuracy)}`;
  return say(next, at, 'info', `round ${count(entry.round)}: ${shown.split} ${figures}`);
}

/** The split that the headline shows: validation before test before train. */
export function best(splits: readonly Pooled[]): Pooled | undefined {
  return (
    splits.find((part) => part.split === 'validation') ??
    splits.find((part) => part.split === 'test') ??
    splits[0]
  );
}
