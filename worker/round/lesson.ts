import { currentStage, type Ledger } from '../journal/ledger.ts';
import type { DisputeRecord, JournalRecord, RoundRecord } from '../journal/record.ts';
import { patienceOf, probeBounds } from './ballot.ts';
import type { Event } from './event.ts';
import { tagOf } from './messages.ts';
import { afterRecord, STARTING_PACE, sampled } from './pace.ts';
import { inTime, missed } from './probes.ts';
import { type Turn, takesPart } from './state.ts';
import { closeBallot, saidIn } from './work.ts';

type Entry = Extract<Event, { type: 'entry' }>;
const MAX_SUSPECTS = 64;

/** What a followed record tells a member about itself and the others. `before`: the ledger that it followed. */
export function learn(turn: Turn, before: Ledger, { record, ledger, own }: Entry): void {
  const { state } = turn;
  if (record.kind === 'round') {
    const open = state.ballot !== null && state.ballot.tag === tagOf(before.roundChain);
    if (open && ledger.round > before.round) learnRound(turn, before, record);
    if (ledger.round > before.round) learnRhythm(turn, ledger, record);
    learnMembers(turn, before, ledger, record);
  }
  if (record.kind === 'dispute') learnDispute(turn, record);
  if (record.kind === 'checkpoint' && record.location === state.checkpoint?.location) state.checkpoint = null;
  const digest = digestOf(record);
  if (digest === null || own === null || own === digest) return;
  const tag = tagOf(ledger.chain);
  const proposer = record.kind === 'round' ? proposerIn(before, record) : undefined;
  if (state.suspects.includes(tag)) {
    // Rebuilt, and still of another mind: then it is the proposer's state that is wrong.
    if (proposer !== undefined && proposer !== state.self.id)
      state.distrusted = [...state.distrusted.slice(1 - MAX_SUSPECTS), proposer];
    return;
  }
  state.suspects = [...state.suspects.slice(1 - MAX_SUSPECTS), tag];
  if (record.kind === 'round') dispute(turn, before, record, 'digest', own);
  // This member's own mistake, for which it has rebuilt itself, or one of somebody known to be wrong.
  const known = record.kind === 'round' && state.suspects.includes(nameOf(record));
  if (known || (proposer !== undefined && state.distrusted.includes(proposer))) return;
  diverge(turn, record.kind === 'round' ? record.round : ledger.totals.rounds, digest, own);
}

/** How long rounds take, which members and outsiders alike may know. A stage's first says nothing: all make ready in it. */
function learnRhythm({ state }: Turn, ledger: Ledger, record: RoundRecord): void {
  const { start } = currentStage(ledger);
  if (start === ledger.round) state.pace = STARTING_PACE;
  else if (start < record.round) state.pace = sampled(state.pace, 'round', record.elapsed);
}

/** The id of the record's proposer; none where nobody was in. */
function proposerIn({ members }: Ledger, { round, attempt }: RoundRecord): string | undefined {
  return members[(round + attempt) % members.length]?.id;
}

function nameOf({ round }: { round: number }): string {
  return `round ${round}`;
}

/**
 * What a record says of the state it finds. A checkpoint is none to go by: nothing tells who wrote it, so that a member
 * which writes wrong ones would be believed again each time, and the round's own record has the digest of the same state.
 */
function digestOf(record: JournalRecord): string | null {
  return record.kind === 'round' || record.kind === 'end' ? record.digest : null;
}

/** Pace, probe count, and whether the own bytes are as they were sent. */
function learnRound(turn: Turn, before: Ledger, record: RoundRecord): void {
  const { state, now } = turn;
  const { ballot } = state;
  const tag = tagOf(before.roundChain);
  const index = before.members.findIndex(({ id }) => id === state.self.id);
  const mine = record.bytes[index];
  if (mine !== undefined && mine.length > 0) {
    state.evictions = 0;
    const { slot } = before.members[index]!;
    const said = saidIn(state, record.round, tag, slot);
    const changed = said === undefined || Buffer.compare(said.bytes, mine) !== 0;
    if (changed && tag !== state.inherited)
      dispute(
        turn,
        before,
        record,
        'bytes',
        said === undefined ? '' : Buffer.from(said.bytes).toString('hex'),
      );
  }
  if (before.complete !== null || ballot === null) return;
  const whole = record.bytes.every((bytes) => bytes.length > 0);
  state.pace = afterRecord(state.pace, whole);
  const usual = patienceOf(ballot) === 'probe';
  if (usual && whole && ballot.own !== null && record.attempt === 0)
    state.pace = sampled(state.pace, 'commit', now - ballot.ownAt);
  if (mine === undefined || state.probes === null || !ballot.working) return;
  const bounds = probeBounds(before);
  if (mine.length > 0) state.probes = { ...state.probes, ...inTime(state.probes, bounds) };
  else if (usual && (ballot.own === null || now - ballot.ownAt < state.pace.commit.mean))
    state.probes = { ...state.probes, ...missed(state.probes, bounds) };
}

function learnMembers(turn: Turn, before: Ledger, ledger: Ledger, record: RoundRecord): void {
  const { state } = turn;
  if (record.joins.length > 0) {
    const admitted = new Set(record.joins.map(({ id }) => id));
    state.joiners = state.joiners.filter(({ join }) => !admitted.has(join.id));
  }
  if (before.members === ledger.members) return;
  const isIn = new Set(ledger.members.map(({ id }) => id));
  const gone = new Set(before.members.filter(({ id }) => !isIn.has(id)).map(({ id }) => id));
  if (gone.size === 0) return;
  state.leavers = state.leavers.filter((id) => !gone.has(id));
  if (gone.has(state.self.id) && state.leaveBy === null) {
    state.evictions++;
    state.readiness = 'none';
  }
}

function learnDispute(turn: Turn, record: DisputeRecord): void {
  const { state } = turn;
  const same = (other: DisputeRecord) =>
    other.member === record.member && other.round === record.round && other.reason === record.reason;
  state.disputes = state.disputes.filter((other) => !same(other));
  if (record.reason !== 'digest' || record.proposer !== state.self.id || !takesPart(state)) return;
  const { round, members } = state.accusers;
  const accusers = round === record.round ? [...new Set([...members, record.member])] : [record.member];
  state.accusers = { round: record.round, members: accusers };
  const name = nameOf(record);
  const others = Math.max(1, state.ledger.members.length - 1);
  if (accusers.length * 2 < others || state.suspects.includes(name)) return;
  // Half of the others see another state than this member put its name to.
  state.suspects = [...state.suspects.slice(1 - MAX_SUSPECTS), name];
  diverge(turn, record.round, record.expected, '');
}

function dispute(
  turn: Turn,
  before: Ledger,
  record: RoundRecord,
  reason: DisputeRecord['reason'],
  expected: string,
): void {
  const { state } = turn;
  const { members } = before;
  const own = members.find(({ id }) => id === state.self.id);
  const proposer = proposerIn(before, record);
  if (own === undefined || proposer === undefined) return;
  const made: DisputeRecord = {
    kind: 'dispute',
    round: record.round,
    slot: own.slot,
    member: own.id,
    proposer,
    reason,
    expected,
  };
  state.disputes = [...state.disputes.slice(-7), made];
}

/** Tells the log what was wrong with this member's own state. */
export function confess({ state }: Turn, { round, tensors }: Extract<Event, { type: 'compared' }>): void {
  const own = state.ledger.members.find(({ id }) => id === state.self.id);
  const [expected] = tensors;
  if (own === undefined || expected === undefined) return;
  const { slot, id } = own;
  const made = {
    kind: 'dispute',
    round,
    slot,
    member: id,
    proposer: id,
    reason: 'tensor',
    expected,
  } as const;
  state.disputes = [...state.disputes.slice(-7), made];
}

function diverge(turn: Turn, round: number, expected: string, own: string): void {
  closeBallot(turn);
  turn.state.muted = true;
  turn.act({ type: 'diverged', round, expected, own });
}
