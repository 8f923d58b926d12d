import { currentStage } from '../journal/ledger.ts';
import {
  accept,
  type Ballot,
  isFit,
  openBallot,
  ownTime,
  patienceOf,
  probeBounds,
  proposerOf,
  reseat,
  seatOf,
  turnOf,
} from './ballot.ts';
import type { Event } from './event.ts';
import { type Proposal, type Sums, type Tag, tagOf } from './messages.ts';
import { attemptTime, sampled } from './pace.ts';
import { startingCount, within } from './probes.ts';
import { shardOf } from './shard.ts';
import type { MachineState, Turn } from './state.ts';

/** Own proposals that are remembered: as far back as a lost log tail may plausibly take the run. */
const REMEMBERED = 64;
const MAX_EARLY = 4096;
/** What a member sends that has nothing to measure: it stays in. */
const ABSTENTION = new Uint8Array(1);

/** Brings the ballot in line with the ledger: a new one after a new state, other seats after a change of members. */
export function faceBallot(turn: Turn): void {
  const { state } = turn;
  const { ballot, ledger } = state;
  if (ballot === null || ballot.tag !== tagOf(ledger.roundChain) || ballot.round !== ledger.round) {
    closeBallot(turn);
    state.ballot = openBallot(ledger, state.self.id, turn.now);
    if (state.options.heir) state.inherited ??= state.ballot.tag;
    takeEarly(turn);
    if (state.ballot.kind === 'end') armAttempt(turn);
  } else if (ballot.members !== ledger.members) {
    const seated = reseat(ballot, ledger.members, state.self.id);
    if (isUnderWay(ballot) && !isUnderWay(seated)) turn.act({ type: 'abandon' });
    turn.cancelTimer('wait');
    state.ballot = seated;
    takeEarly(turn);
    if (seated.own !== null) submit(turn);
  }
}

/** Leaves the open round behind. */
export function closeBallot(turn: Turn): void {
  const { state } = turn;
  const { ballot } = state;
  state.previous = null;
  if (ballot === null) return;
  if (isUnderWay(ballot)) turn.act({ type: 'abandon' });
  turn.cancelTimer('wait');
  turn.cancelTimer('attempt');
  const first = ballot.index >= 0 && turnOf(ballot, ballot.index) === 0;
  state.previous = {
    tag: ballot.tag,
    firstAt: first ? ballot.firstAt : null,
    took: ownTime(ballot),
  };
  state.ballot = null;
}

export function isUnderWay(ballot: Ballot): boolean {
  return ballot.working && ballot.own === null;
}

/** Asks for what this member is to measure in the open round and has not yet, once. */
export function startWork(turn: Turn): void {
  const { state } = turn;
  const ballot = state.ballot!;
  if ((ballot.digestDue || state.cancelled) && !ballot.digestAsked) {
    turn.ballot({ digestAsked: true });
    turn.act({ type: 'digest', tag: ballot.tag });
  }
  if (ballot.index < 0 || ballot.kind === 'end' || ballot.working || state.leaveBy !== null) return;
  turn.ballot({ working: true });
  const { slot } = ballot.members[ballot.index]!;
  const said = saidIn(state, ballot.round, ballot.tag, slot);
  if (said !== undefined) {
    turn.ballot({ own: said, ownAt: turn.now });
    submit(turn);
    return;
  }
  const { tag, round, due, probed, evaluated } = ballot;
  const { examples } = state.ledger.job!.evaluation;
  if (due.length > 0 && evaluated === null) {
    const shard = shardOf(ballot.members, state.self.id, examples)!;
    turn.act({ type: 'evaluate', tag, round, slot, splits: due, shard });
  }
  if (ballot.kind === 'probe' && probed === null) {
    const { roundChain } = state.ledger;
    turn.act({ type: 'probe', tag, round, slot, count: nextCount(turn), roundChain });
  }
  completeOwn(turn);
}

/** What is under way goes with a state that is taken back, though the round may be the same: to be asked for again. */
export function remeasure(turn: Turn): void {
  const { ballot } = turn.state;
  if (ballot === null || !isUnderWay(ballot)) return;
  turn.act({ type: 'abandon' });
  turn.ballot({ working: false });
}

/** What this member said for a round, if it did. */
export function saidIn({ sent }: MachineState, round: number, tag: Tag, slot: number): Proposal | undefined {
  // By the number first: most are of other rounds, and texts take longer to compare.
  return sent.findLast(
    (proposal) => proposal.round === round && proposal.tag === tag && proposal.slot === slot,
  );
}

function nextCount(turn: Turn): number {
  const { state } = turn;
  const bounds = probeBounds(state.ledger);
  const stage = currentStage(state.ledger).index;
  const known = state.probes?.stage === stage ? state.probes : startingCount(bounds);
  state.probes = { ...within(known, bounds), stage };
  return state.probes.count;
}

export function onProbed(turn: Turn, result: Extract<Event, { type: 'probed' }>): void {
  const { bytes, lossSum, lossCount, frozenSeconds = 0 } = result;
  if (!isAnswer(turn, result) || turn.state.ballot!.probed !== null) return;
  turn.ballot({ probed: { bytes, lossSum, lossCount }, frozenMs: 1000 * frozenSeconds });
  completeOwn(turn);
}

export function onEvaluated(turn: Turn, result: { tag: string; slot: number; sums: readonly Sums[] }): void {
  if (!isAnswer(turn, result) || turn.state.ballot!.evaluated !== null) return;
  turn.ballot({ evaluated: result.sums });
  completeOwn(turn);
}

export function onDigested(turn: Turn, { tag, digest }: { tag: string; digest: string }): void {
  if (turn.state.ballot?.tag === tag) turn.ballot({ digest });
}

function isAnswer(turn: Turn, { tag, slot }: { tag: string; slot: number }): boolean {
  const { ballot, leaveBy } = turn.state;
  if (ballot === null || ballot.index < 0 || !isUnderWay(ballot) || leaveBy !== null) return false;
  return ballot.tag === tag && ballot.members[ballot.index]!.slot === slot;
}

/** Sends the own proposal once all its parts are there. */
function completeOwn(turn: Turn): void {
  const { state } = turn;
  const ballot = state.ballot!;
  const { kind, probed, evaluated, due, tag, round, attempt } = ballot;
  if ((kind === 'probe' && probed === null) || (due.length > 0 && evaluated === null)) return;
  const own: Proposal = {
    kind: 'proposal',
    round,
    tag,
    slot: ballot.members[ballot.index]!.slot,
    attempt,
    bytes: kind !== 'probe' ? new Uint8Array(0) : probed!.bytes.length > 0 ? probed!.bytes : ABSTENTION,
    lossSum: probed?.lossSum ?? 0,
    lossCount: probed?.lossCount ?? 0,
    evaluations: ballot.guest ? [] : (evaluated ?? []),
  };
  state.sent = [...state.sent.slice(1 - REMEMBERED), own];
  turn.ballot({ own, ownAt: turn.now });
  submit(turn);
}

/** Puts the own proposal into the ballot and before every proposer so far, and gives the last one its time. */
export function submit(turn: Turn): void {
  const ballot = turn.state.ballot!;
  const own = { ...ballot.own!, attempt: ballot.attempt };
  place(turn, ballot.index, own);
  sendTo(turn, own, 0, ballot.attempt);
  armAttempt(turn);
}

/** To the proposers of the attempts `from` to `to`. */
function sendTo(turn: Turn, own: Proposal, from: number, to: number): void {
  const ballot = turn.state.ballot!;
  const n = ballot.members.length;
  if (n > 2 && to - from + 1 >= n / 2) {
    turn.act({ type: 'broadcast', message: own });
    return;
  }
  for (let attempt = from; attempt <= Math.min(to, from + n - 1); attempt++) {
    const { id } = proposerOf(ballot, attempt);
    if (id !== turn.state.self.id) turn.send(id, own);
  }
}

export function armAttempt(turn: Turn): void {
  const ballot = turn.state.ballot!;
  if (ballot.index < 0) return;
  const proposers = Math.min(ballot.attempt + 1, ballot.members.length);
  let absent = true;
  for (let attempt = 0; attempt < proposers && absent; attempt++) {
    const { missed, id } = proposerOf(ballot, attempt);
    absent = missed > 0 && id !== turn.state.self.id;
  }
  turn.setTimer('attempt', attemptTime(turn.state.pace, ballot.attempt, absent));
}

/**
 * Nobody committed in time: as many proposers again. (One more each time would take a run whose workers were all
 * replaced at once through all of the old ones.)
 */
export function onAttemptOver(turn: Turn): void {
  const { ballot } = turn.state;
  if (ballot === null || ballot.index < 0) return;
  if (ballot.kind !== 'end' && ballot.own === null) return;
  const n = ballot.members.length;
  const all = ballot.attempt >= n - 1;
  const attempt = all ? ballot.attempt : Math.min(2 * ballot.attempt + 1, n - 1);
  turn.ballot({ attempt });
  if (ballot.own !== null) sendTo(turn, { ...ballot.own, attempt }, all ? 0 : ballot.attempt + 1, attempt);
  armAttempt(turn);
}

/** A proposal of another member. */
export function onProposal(turn: Turn, from: string, proposal: Proposal): void {
  const { state } = turn;
  const { ballot, previous } = state;
  if (ballot !== null && proposal.tag === ballot.tag) {
    const seat = seatOf(ballot, from, proposal.slot);
    if (seat < 0) keepEarly(turn, from, proposal);
    else receive(turn, seat, proposal);
  } else if (proposal.tag === previous?.tag) {
    if (previous.firstAt !== null) state.pace = sampled(state.pace, 'behind', turn.now - previous.firstAt);
  } else if (proposal.round >= state.ledger.round) keepEarly(turn, from, proposal);
}

function receive(turn: Turn, seat: number, proposal: Proposal): void {
  const ballot = turn.state.ballot!;
  if (!isFit(ballot, proposal, probeBounds(turn.state.ledger).max)) return;
  place(turn, seat, proposal);
  // The sender takes this member for the proposer of a later attempt, so earlier ones are lost to it.
  const own = ballot.index < 0 ? Number.POSITIVE_INFINITY : turnOf(ballot, ballot.index);
  if (own > ballot.attempt && own <= proposal.attempt) turn.ballot({ attempt: own });
}

function place(turn: Turn, seat: number, proposal: Proposal): void {
  const { state, now } = turn;
  const before = state.ballot!;
  const after = accept(before, seat, proposal, now);
  if (after === before) return;
  state.ballot = after;
  const collects = before.index >= 0 && turnOf(before, before.index) === 0 && before.attempt === 0;
  if (collects && before.firstAt !== null && patienceOf(before) === 'probe')
    state.pace = sampled(state.pace, 'behind', now - before.firstAt);
}

/** Proposals may overtake the record, or the membership, that they build on. */
function keepEarly(turn: Turn, from: string, proposal: Proposal): void {
  const { state } = turn;
  const others = state.early.filter((early) => early.from !== from);
  if (others.length < MAX_EARLY) state.early = [...others, { from, proposal }];
}

function takeEarly(turn: Turn): void {
  const { state } = turn;
  const { early } = state;
  if (early.length === 0) return;
  state.early = early.filter(({ proposal }) => proposal.round > state.ballot!.round);
  for (const { from, proposal } of early)
    if (proposal.tag === state.ballot!.tag) onProposal(turn, from, proposal);
}
