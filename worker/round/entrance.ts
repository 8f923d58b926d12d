import { liveJoiners } from './commitment.ts';
import { silence } from './pace.ts';
import type { Turn } from './state.ts';

/** Milliseconds. */
const FIRST_JOIN = 250;
const LONGEST_JOIN = 4000;
/** Requests after which a joiner lets itself in. */
const PATIENT_JOINS = 5;
/** The same where the run has been silent for much longer than its rounds take. */
const SILENT_JOINS = 2;
/** Between the turns of two candidates who would start a run. */
const BOOT_STEP = 200;
const BOOT_AGAIN = 1000;
/** Silence after which an outsider ends a run that its members do not end. */
const TAKEOVER = 30_000;
const TAKEOVER_AGAIN = 5000;

/** What a member does that is not in. Idempotent: may be called at any moment. */
export function standOutside(turn: Turn): void {
  const { state } = turn;
  const { kind, members } = state.ballot!;
  if (state.leaveBy !== null) {
    leave(turn, true);
    return;
  }
  // After the last update nobody new is let in, but members say that they are there.
  if (!state.joining) {
    if (kind === 'probe' && members.length > 0 && prepares(turn)) return;
    state.joining = true;
    turn.setTimer('join', state.evictions === 0 ? 0 : FIRST_JOIN * 2 ** Math.min(state.evictions, 6));
  }
  if (members.length === 0) boot(turn);
  else {
    state.emptySince = null;
    if (kind !== 'probe') armTakeover(turn);
  }
}

/**
 * Whether the engine is yet to be made ready, which is asked for once. Whoever became a member first would hold the others
 * up while its sessions open and its frozen activations are computed, miss as many rounds as let go of it, and ask again
 * later than it could.
 */
function prepares(turn: Turn): boolean {
  const { state } = turn;
  if (state.readiness === 'none') {
    state.readiness = 'asked';
    turn.act({ type: 'prepare' });
  }
  return state.readiness !== 'ready';
}

/** Ends what only outsiders do. */
export function standInside(turn: Turn): void {
  const { state } = turn;
  if (state.joining || state.emptySince !== null)
    for (const name of ['join', 'boot', 'takeover'] as const) turn.cancelTimer(name);
  state.joining = false;
  state.joinTries = 0;
  state.emptySince = null;
  state.acting = false;
}

/**
 * A run without members is started by one of those who ask to be let in: in the order of their ids, each a step
 * after the last, so that usually one tries; the log's order decides where two do.
 */
export function boot(turn: Turn): void {
  const { state, now } = turn;
  state.emptySince ??= now;
  const { expected, grace } = state.options;
  const known = 1 + liveJoiners(state, now).length;
  const due = state.ballot!.kind === 'end' || known >= expected ? now : state.emptySince + grace;
  turn.setTimer('boot', due - now + rank(turn) * BOOT_STEP);
}

function rank(turn: Turn): number {
  const { state, now } = turn;
  return liveJoiners(state, now).filter(({ id }) => id < state.self.id).length;
}

export function onJoinTimer(turn: Turn): void {
  const { state } = turn;
  if (!state.joining || state.run === null) return;
  turn.act({ type: 'broadcast', message: { kind: 'join', run: state.run, join: state.self } });
  state.joinTries++;
  turn.setTimer('join', Math.min(LONGEST_JOIN, FIRST_JOIN * 2 ** state.joinTries));
  const silent = turn.now - state.entryAt > silence(state.pace);
  const patient = silent ? SILENT_JOINS : PATIENT_JOINS;
  if (state.joinTries > patient && state.ballot?.kind === 'probe') state.acting = true;
}

/** Heard of one more: brings the start forward where all that are waited for are there. */
export function onCandidate(turn: Turn): void {
  const { emptySince, joiners, options } = turn.state;
  // With very many it is too much to count them again at every one: `onBootTimer` does once more.
  if (emptySince === null || joiners.length + 1 >= options.expected) boot(turn);
}

export function onBootTimer(turn: Turn): void {
  const { state, now } = turn;
  if (!isOutside(turn) || state.ballot!.members.length > 0) return;
  const { expected, grace } = state.options;
  const early = (state.emptySince ?? now) + grace + rank(turn) * BOOT_STEP - now;
  if (early > 0 && liveJoiners(state, now).length + 1 < expected && state.ballot!.kind !== 'end') {
    turn.setTimer('boot', early);
    return;
  }
  state.acting = true;
  turn.setTimer('boot', BOOT_AGAIN + rank(turn) * BOOT_STEP);
}

export function onTakeoverTimer(turn: Turn): void {
  const { state, now } = turn;
  if (!isOutside(turn) || state.ballot!.kind === 'probe') return;
  if (now < silentSince(turn) + TAKEOVER) {
    armTakeover(turn);
    return;
  }
  state.acting = true;
  turn.setTimer('takeover', TAKEOVER_AGAIN);
}

function armTakeover(turn: Turn): void {
  turn.setTimer('takeover', silentSince(turn) + TAKEOVER + rank(turn) * BOOT_STEP - turn.now);
}

function silentSince({ state }: Turn): number {
  return Math.max(state.entryAt, state.heardAt);
}

function isOutside(turn: Turn): boolean {
  return turn.state.ballot !== null && turn.state.ballot.index < 0;
}

/** The end of this member: nothing follows. */
export function leave(turn: Turn, released: boolean): void {
  const { state } = turn;
  if (state.run !== null) turn.act({ type: 'broadcast', message: { kind: 'leave', run: state.run } });
  state.done = true;
  turn.act({ type: 'left', released });
}
