import { emptyLedger } from '../journal/ledger.ts';
import type { Digest } from '../journal/record.ts';
import { ownTime, probeBounds } from './ballot.ts';
import { tryAppend, withJoiner } from './commitment.ts';
import {
  leave,
  onBootTimer,
  onCandidate,
  onJoinTimer,
  onTakeoverTimer,
  standInside,
  standOutside,
} from './entrance.ts';
import type { Effect, Event, TimerName } from './event.ts';
import { confess, learn } from './lesson.ts';
import { type JoinRequest, type Message, tagOf } from './messages.ts';
import { late } from './probes.ts';
import { type MachineState, Turn, takesPart } from './state.ts';
import {
  closeBallot,
  faceBallot,
  isUnderWay,
  onAttemptOver,
  onDigested,
  onEvaluated,
  onProbed,
  onProposal,
  remeasure,
  startWork,
} from './work.ts';

/** Milliseconds. */
const RETRY = 250;
const LONGEST_RETRY = 8000;
const LEAVE_AGAIN = 500;
const CATCH_UP = 2000;
const MAX_LEAVERS = 4096;
/** Appends in a row without a new entry after which the log's tail is opened anew. */
const RESYNC_AFTER = 4;

/**
 * One member of a run: what it does about what happens to it. Pure: the same arguments give the same result, and
 * `state` is not changed. All order comes from the log, through `entry` events; everything else, lost, late, doubled
 * or forged, costs time and never agreement.
 * @param now milliseconds of a clock that never goes back
 */
export function step(
  state: MachineState,
  event: Event,
  now: number,
): { readonly state: MachineState; readonly effects: readonly Effect[] } {
  if (state.done) return { state, effects: [] };
  const turn = new Turn(state, now);
  handle(turn, event);
  return { state: turn.state, effects: turn.effects };
}

function handle(turn: Turn, event: Event): void {
  const { state, now } = turn;
  switch (event.type) {
    case 'started':
      // Never more than at first: new entries keep coming, and taking part must not wait for them.
      state.target = Math.min(state.target ?? event.last, event.last);
      state.entryAt = now;
      settle(turn);
      break;
    case 'entry': {
      const before = state.ledger;
      moved(turn, event.seq);
      state.ledger = event.ledger;
      state.entryAt = now;
      if (event.record.kind === 'genesis') state.run = tagOf(event.ledger.chain);
      learn(turn, before, event);
      settle(turn, event.own);
      break;
    }
    case 'ignored':
      moved(turn, event.seq);
      settle(turn);
      break;
    case 'truncated':
      moved(turn, event.seq);
      state.ledger = event.ledger;
      state.entryAt = now;
      Object.assign(state, { previous: null, disputes: [] });
      if (state.checkpoint !== null && state.checkpoint.round > event.ledger.round) state.checkpoint = null;
      if (state.target !== null) state.target = Math.min(state.target, event.seq);
      remeasure(turn);
      settle(turn);
      break;
    case 'rebuilding':
      closeBallot(turn);
      moved(turn, 0);
      Object.assign(state, {
        ledger: emptyLedger(),
        target: event.last,
        muted: false,
        entryAt: now,
        checkpoint: null,
        readiness: 'none',
      });
      settle(turn);
      break;
    case 'compared':
      confess(turn, event);
      break;
    case 'message':
      onMessage(turn, event.from, event.message);
      tryAppend(turn);
      break;
    case 'timer':
      onTimer(turn, event.name);
      tryAppend(turn);
      break;
    case 'probed':
      onProbed(turn, event);
      tryAppend(turn);
      break;
    case 'evaluated':
      onEvaluated(turn, event);
      tryAppend(turn);
      break;
    case 'digested':
      onDigested(turn, event);
      tryAppend(turn);
      break;
    case 'prepared':
      state.readiness = 'ready';
      settle(turn);
      break;
    case 'stored':
      state.checkpoint = event.record;
      tryAppend(turn);
      break;
    case 'appended':
    case 'conflict':
    case 'unavailable':
      onAppend(turn, event.type, event.expectedLast);
      break;
    case 'leave':
      onLeave(turn);
      break;
    case 'cancel':
      state.cancelled = true;
      settle(turn);
      break;
  }
}

/** The log's end, as far as this member knows, is elsewhere now. */
function moved(turn: Turn, seq: number): void {
  const { state } = turn;
  if (state.appending !== null) turn.cancelTimer('retry');
  state.seq = seq;
  state.appending = null;
  state.failures = 0;
  state.acting = false;
}

/** Does what the state of the log asks of this member. Idempotent. */
function settle(turn: Turn, own: Digest | null = null): void {
  const { state } = turn;
  const { ledger } = state;
  if (state.done) return;
  if (ledger.end !== null && !state.muted && state.target !== null) {
    closeBallot(turn);
    state.done = true;
    turn.act({ type: 'finished', record: ledger.end, own });
    return;
  }
  if (!takesPart(state)) {
    if (state.target !== null && state.seq < state.target) turn.setTimer('catchUp', CATCH_UP);
    if (state.leaveBy !== null) leave(turn, false);
    else tryAppend(turn);
    return;
  }
  faceBallot(turn);
  if (state.ballot!.index < 0) standOutside(turn);
  else standInside(turn);
  if (state.done) return;
  startWork(turn);
  tryAppend(turn);
}

function onTimer(turn: Turn, name: TimerName): void {
  const { state } = turn;
  switch (name) {
    case 'catchUp':
      // The log may have lost what is waited for.
      if (state.target !== null && state.seq < state.target) turn.act({ type: 'look' });
      return;
    case 'wait':
      if (state.ballot?.waiting === true) turn.ballot({ expired: true });
      return;
    case 'attempt':
      onAttemptOver(turn);
      break;
    case 'retry':
      if (state.appending === null) return;
      state.appending = null;
      settle(turn);
      break;
    case 'join':
      onJoinTimer(turn);
      break;
    case 'boot':
      onBootTimer(turn);
      break;
    case 'takeover':
      onTakeoverTimer(turn);
      break;
    case 'leave':
      onLeaveTimer(turn);
      break;
  }
}

function onMessage(turn: Turn, from: string, message: Message): void {
  const { state, now } = turn;
  switch (message.kind) {
    case 'proposal':
      onProposal(turn, from, message);
      break;
    case 'join':
      onJoin(turn, from, message);
      break;
    case 'here':
      if (message.tag === state.ballot?.tag) state.heardAt = now;
      break;
    case 'leave':
      if (message.run !== state.run) return;
      state.joiners = state.joiners.filter(({ join }) => join.id !== from);
      if (!state.leavers.includes(from)) state.leavers = [...state.leavers.slice(1 - MAX_LEAVERS), from];
      return;
    case 'late':
      onLate(turn, from, message);
      break;
  }
}

function onJoin(turn: Turn, from: string, message: JoinRequest): void {
  const { state, now } = turn;
  const { ballot } = state;
  if ((state.run !== null && message.run !== state.run) || message.join.id !== from) return;
  if (from === state.self.id || state.leavers.includes(from)) return;
  state.joiners = withJoiner(state.joiners, message, now);
  if (!takesPart(state) || ballot === null) return;
  if (ballot.members.length === 0 && state.leaveBy === null) onCandidate(turn);
  if (ballot.index >= 0 && ballot.kind !== 'probe') turn.send(from, { kind: 'here', tag: ballot.tag });
}

function onLate(turn: Turn, from: string, { tag, behind }: { tag: string; behind: number }): void {
  const { state } = turn;
  const { ballot, previous, ledger, probes } = state;
  if (probes === null || ballot === null || ballot.kind !== 'probe') return;
  if (!ledger.members.some(({ id }) => id === from)) return;
  const open = tag === ballot.tag && ballot.own !== null ? ownTime(ballot) : 0;
  const took = tag === previous?.tag ? previous.took : open;
  state.probes = { ...probes, ...late(probes, probeBounds(ledger), behind, took) };
}

function onAppend(turn: Turn, outcome: 'appended' | 'conflict' | 'unavailable', expectedLast: number): void {
  const { state } = turn;
  if (state.appending !== expectedLast) return;
  // Until the entry that was appended, or lost against, arrives, there is nothing to do; but it may never do.
  state.failures++;
  turn.setTimer('retry', Math.min(LONGEST_RETRY, RETRY * 2 ** Math.min(state.failures, 8)));
  if (outcome !== 'unavailable' && state.failures % RESYNC_AFTER === 0) turn.act({ type: 'resync' });
}

function onLeave(turn: Turn): void {
  const { state, now } = turn;
  if (state.leaveBy !== null) return;
  state.leaveBy = now + state.options.leaveWithin;
  state.leavers = [...state.leavers, state.self.id];
  const { ballot } = state;
  if (!takesPart(state) || ballot === null || ballot.index < 0) {
    leave(turn, ballot !== null && takesPart(state));
    return;
  }
  if (isUnderWay(ballot)) turn.act({ type: 'abandon' });
  askToLeave(turn);
  tryAppend(turn);
}

function onLeaveTimer(turn: Turn): void {
  const { state, now } = turn;
  if (state.leaveBy === null) return;
  state.leaveTries++;
  if (now >= state.leaveBy) leave(turn, false);
  else askToLeave(turn);
}

function askToLeave(turn: Turn): void {
  const { state, now } = turn;
  turn.act({ type: 'broadcast', message: { kind: 'leave', run: state.run! } });
  turn.setTimer('leave', Math.min(LEAVE_AGAIN, state.leaveBy! - now));
}
