import { MAX_MEMBERS, type Member } from '../journal/ledger.ts';
import type { EndRecord, Join, JournalRecord } from '../journal/record.ts';
import {
  type Ballot,
  type Changes,
  isProposing,
  isWhole,
  membershipRecord,
  patienceOf,
  probeBounds,
  roundRecord,
} from './ballot.ts';
import type { JoinRequest } from './messages.ts';
import { fullTime, sampled, tolerated, waitTime } from './pace.ts';
import { late } from './probes.ts';
import { type Joiner, type MachineState, type Turn, takesPart } from './state.ts';

/** A request to join counts for so long; the joiner repeats it more often than that. */
export const JOIN_LASTS = 30_000;
const MAX_JOINS = 256;
const MAX_NAME = 253;
/** Repeats of a leave after which a member takes itself out. */
export const RELEASE_AFTER = 2;

/** Appends what this member may append now, if anything, unless an append is under way. */
export function tryAppend(turn: Turn): void {
  const { state } = turn;
  if (state.done) return;
  armWait(turn);
  if (state.appending !== null) return;
  const record = nextRecord(state, turn.now);
  if (record === null) return;
  if (record.kind === 'round' && state.failures === 0) learnArrivals(turn);
  state.appending = state.seq;
  turn.act({ type: 'append', record, ledger: state.ledger, expectedLast: state.seq });
}

/** A proposer's patience starts when it has something to commit. */
function armWait(turn: Turn): void {
  const { ballot } = turn.state;
  if (!takesPart(turn.state) || ballot === null || ballot.kind === 'end') return;
  if (ballot.waiting || ballot.expired || ballot.have === 0 || !isProposing(ballot)) return;
  turn.ballot({ waiting: true });
  const first = ballot.firstAt! - ballot.startedAt;
  turn.setTimer('wait', waitTime(turn.state.pace, patienceOf(ballot), first));
}

/** Learns the round's pace as its proposer, and tells those who came long after what a full count takes. */
function learnArrivals(turn: Turn): void {
  const { state } = turn;
  const ballot = state.ballot!;
  if (ballot.attempt > 0 || patienceOf(ballot) !== 'probe' || ballot.firstAt === null) return;
  const first = ballot.firstAt - ballot.startedAt;
  const arrivals = ballot.proposals.map((proposal, i) => ({
    took: first + ballot.behind[i]!,
    probes: proposal?.bytes.length ?? 0,
  }));
  const made = arrivals.filter(({ probes }) => probes > 0);
  if (made.length === 0) return;
  const full = fullTime(made, probeBounds(state.ledger).max);
  state.pace = sampled(state.pace, 'full', full);
  for (const [i, { took, probes }] of arrivals.entries()) {
    const behind = took - full;
    if (probes === 0 || behind <= tolerated(full)) continue;
    if (i !== ballot.index) turn.send(ballot.members[i]!.id, { kind: 'late', tag: ballot.tag, behind });
    else if (state.probes !== null)
      state.probes = { ...state.probes, ...late(state.probes, probeBounds(state.ledger), behind, took) };
  }
}

/** What this member may append after the last entry it knows; null: nothing. Pure. */
export function nextRecord(state: MachineState, now: number): JournalRecord | null {
  const { ledger, ballot } = state;
  if (ledger.genesis === null || ledger.end !== null) return null;
  const upToDate = state.target !== null && state.seq >= state.target;
  const dispute = state.disputes.find(({ round }) => round < ledger.round);
  if (dispute !== undefined && upToDate) return dispute;
  if (!takesPart(state) || ballot === null) return null;
  if (state.cancelled) return endRecord(state, ballot, 'cancelled');
  if (ballot.index < 0) return state.acting ? alone(state, ballot, now) : null;
  const { checkpoint } = state;
  // The log takes none of a round that it has not reached, or no longer.
  if (checkpoint !== null && checkpoint.round <= ledger.round && ballot.kind === 'probe') return checkpoint;
  if (ballot.kind === 'end') return isProposing(ballot) ? endRecord(state, ballot, ledger.complete!) : null;
  const proposal = isProposing(ballot) ? proposed(state, ballot, now) : null;
  if (proposal !== null) return proposal;
  const releases = state.leaveBy !== null && state.leaveTries >= RELEASE_AFTER;
  return releases && ballot.kind === 'probe' ? membershipRecord(ballot, changes(state, ballot, now)) : null;
}

function proposed(state: MachineState, ballot: Ballot, now: number): JournalRecord | null {
  const whole = isWhole(ballot, state.leavers);
  if (ballot.have > 0) {
    if (!whole && !ballot.expired) return null;
    if (ballot.digestDue && ballot.digest === null) return null;
    return roundRecord(ballot, changes(state, ballot, now));
  }
  // Everybody leaves: let them go. The final evaluation must not be given away like that.
  return whole && ballot.kind === 'probe' ? membershipRecord(ballot, changes(state, ballot, now)) : null;
}

/** What an outsider appends for a run that has no members, or whose members have been silent for long. */
function alone(state: MachineState, ballot: Ballot, now: number): JournalRecord | null {
  if (ballot.kind === 'end') return endRecord(state, ballot, state.ledger.complete!);
  const made = changes(state, ballot, now);
  if (ballot.kind === 'final' && ballot.members.length > 0) return roundRecord(ballot, made);
  return made.joins.length > 0 ? membershipRecord(ballot, made) : null;
}

function endRecord(state: MachineState, ballot: Ballot, reason: EndRecord['reason']): EndRecord | null {
  if (ballot.digest === null) return null;
  return { kind: 'end', round: state.ledger.totals.rounds, digest: ballot.digest, reason };
}

function changes(state: MachineState, ballot: Ballot, now: number): Changes {
  const { members } = ballot;
  const closes = ballot.kind === 'final' && members.length > 0;
  const joins = closes ? [] : joinsOf(state, ballot, now);
  const successors = new Set(joins.map(workerOf));
  // A worker that starts again under a new id takes the place of its earlier life, unless that one is heard of.
  const goes = (member: Member, i: number) =>
    state.leavers.includes(member.id) || (ballot.proposals[i] === null && successors.has(workerOf(member)));
  return {
    elapsed: Math.max(0, Math.round(now - state.entryAt)),
    joins,
    leaves: members.filter(goes).map(({ slot }) => slot),
  };
}

function workerOf({ group, name }: Join): string {
  return `${group}/${name}`;
}

function joinsOf(state: MachineState, ballot: Ballot, now: number): Join[] {
  const { members } = ballot;
  const asks = [...liveJoiners(state, now)];
  if (ballot.index < 0 && state.leaveBy === null) asks.push(state.self);
  const room = Math.min(MAX_JOINS, MAX_MEMBERS - members.length);
  const isIn = new Set(members.map(({ id }) => id));
  return asks
    .filter(({ id }) => !isIn.has(id))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(0, room);
}

/** Who asks to be let in now. */
export function liveJoiners(state: MachineState, now: number): Join[] {
  return state.joiners
    .filter(({ at, run }) => run === state.run && now - at <= JOIN_LASTS)
    .map(({ join }) => join);
}

/** The joiners with one more, or with one heard of again. */
export function withJoiner(
  joiners: readonly Joiner[],
  { run, join }: JoinRequest,
  at: number,
): readonly Joiner[] {
  if (join.name.length > MAX_NAME || join.group.length > MAX_NAME) return joiners;
  const joiner = { run, join, at };
  const known = joiners.findIndex(({ join: { id } }) => id === join.id);
  if (known >= 0) return joiners.with(known, joiner);
  if (joiners.length < MAX_MEMBERS) return [...joiners, joiner];
  const live = joiners.filter((other) => at - other.at <= JOIN_LASTS);
  return live.length < MAX_MEMBERS ? [...live, joiner] : joiners;
}
