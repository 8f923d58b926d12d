import {
  currentStage,
  dueEvaluations,
  effective,
  type Ledger,
  type Member,
  type Split,
} from '../journal/ledger.ts';
import type { Digest, Evaluation, Join, RoundRecord } from '../journal/record.ts';
import { type Proposal, type Sums, type Tag, tagOf } from './messages.ts';
import type { Patience } from './pace.ts';

/** What the log waits for next: an update, the final evaluation, or the end record. */
export type BallotKind = 'probe' | 'final' | 'end';

/** What one member knows of the round that is open: its own work, and the proposals that reached it. A value. */
export interface Ballot {
  readonly kind: BallotKind;
  readonly round: number;
  readonly tag: Tag;
  readonly members: readonly Member[];
  /** This member's place in `members`; -1 where it is not in. */
  readonly index: number;
  readonly startedAt: number;
  /** Whether the round starts a stage: everybody makes ready first, so its times tell nothing about the next ones. */
  readonly cold: boolean;
  readonly attempt: number;

  /** By member; the first that came counts. */
  readonly proposals: readonly (Proposal | null)[];
  /** By member: milliseconds behind the first. */
  readonly behind: readonly number[];
  readonly have: number;
  readonly firstAt: number | null;
  /** Whether the proposer's wait for the others runs, and whether it is over. */
  readonly waiting: boolean;
  readonly expired: boolean;

  readonly due: readonly Split[];
  /** Whether work was asked for. */
  readonly working: boolean;
  readonly probed: Pick<Proposal, 'bytes' | 'lossSum' | 'lossCount'> | null;
  readonly evaluated: readonly Sums[] | null;
  /**
   * Let in while the round was open, when others of the group had shared the rows of its evaluations: what this member finds
   * does not count. It evaluates all the same: a proposer waits in proportion to the first that comes, and one that had
   * nothing to do would have the others miss the round.
   */
  readonly guest: boolean;
  readonly own: Proposal | null;
  readonly ownAt: number;
  /** Milliseconds of its work that say nothing about the next round's. */
  readonly frozenMs: number;
  readonly digestDue: boolean;
  readonly digestAsked: boolean;
  readonly digest: Digest | null;
}

/** The empty ballot of the ledger's next record. The ledger has a genesis and no end. */
export function openBallot(ledger: Ledger, self: string, now: number): Ballot {
  const { members } = ledger;
  const every = ledger.job!.checkpoint.everyRounds;
  const kind = ledger.finished ? 'end' : ledger.complete !== null ? 'final' : 'probe';
  return {
    kind,
    round: ledger.round,
    tag: tagOf(ledger.roundChain),
    members,
    index: members.findIndex(({ id }) => id === self),
    startedAt: now,
    cold: kind === 'probe' && currentStage(ledger).start === ledger.round,
    attempt: 0,
    proposals: members.map(() => null),
    behind: members.map(() => 0),
    have: 0,
    firstAt: null,
    waiting: false,
    expired: false,
    due: dueEvaluations(ledger),
    working: false,
    probed: null,
    evaluated: null,
    guest: false,
    own: null,
    ownAt: now,
    frozenMs: 0,
    digestDue:
      kind === 'end' || (kind === 'probe' && every > 0 && ledger.round > 0 && ledger.round % every === 0),
    digestAsked: false,
    digest: null,
  };
}

/** The ballot after a record that changed who is in, but not the state: what came of those who stay stays good. */
export function reseat(ballot: Ballot, members: readonly Member[], self: string): Ballot {
  const before = new Map(ballot.members.map((member, i) => [`${member.id}/${member.slot}`, i]));
  const from = members.map((member) => before.get(`${member.id}/${member.slot}`));
  const proposals = from.map((i) => (i === undefined ? null : ballot.proposals[i]!));
  const index = members.findIndex(({ id }) => id === self);
  const kept = index >= 0 && from[index] !== undefined;
  const group = members[index]?.group;
  const stays = members.some((member, i) => from[i] !== undefined && member.group === group);
  return {
    ...ballot,
    members,
    index,
    attempt: 0,
    proposals,
    behind: from.map((i) => (i === undefined ? 0 : ballot.behind[i]!)),
    have: proposals.filter((proposal) => proposal !== null).length,
    waiting: false,
    expired: false,
    ...(kept ? {} : { working: false, probed: null, evaluated: null, own: null, guest: stays }),
  };
}

/** Milliseconds that the own part took, without what the next one does not take again. */
export function ownTime({ startedAt, ownAt, frozenMs }: Ballot): number {
  return ownAt - startedAt - frozenMs;
}

/** The proposer of an attempt; the ballot has members. */
export function proposerOf(ballot: Ballot, attempt: number): Member {
  return ballot.members[(ballot.round + attempt) % ballot.members.length]!;
}

/** The first attempt whose proposer is the member at `index`. */
export function turnOf(ballot: Ballot, index: number): number {
  const n = ballot.members.length;
  return (((index - ballot.round) % n) + n) % n;
}

/** Whether this member is, or in an earlier attempt was, the proposer. */
export function isProposing(ballot: Ballot): boolean {
  return ballot.index >= 0 && turnOf(ballot, ballot.index) <= ballot.attempt;
}

/** The place of a proposal's sender; -1 where it is not in under that slot. */
export function seatOf(ballot: Ballot, from: string, slot: number): number {
  let [low, high] = [0, ballot.members.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ballot.members[middle]!.slot < slot) low = middle + 1;
    else high = middle;
  }
  const member = ballot.members[low];
  return member !== undefined && member.slot === slot && member.id === from ? low : -1;
}

/** Whether a proposal can stand in this ballot's record. */
export function isFit(ballot: Ballot, proposal: Proposal, maxProbes: number): boolean {
  const { length } = proposal.bytes;
  if (proposal.tag !== ballot.tag || proposal.round !== ballot.round) return false;
  return ballot.kind === 'probe'
    ? length > 0 && length <= maxProbes
    : ballot.kind === 'final' && length === 0;
}

/** The ballot with one more proposal; unchanged where that member's is in already. */
export function accept(ballot: Ballot, index: number, proposal: Proposal, now: number): Ballot {
  if (ballot.proposals[index] !== null) return ballot;
  const firstAt = ballot.firstAt ?? now;
  return {
    ...ballot,
    proposals: ballot.proposals.with(index, proposal),
    behind: ballot.behind.with(index, now - firstAt),
    have: ballot.have + 1,
    firstAt,
  };
}

/** Whether nobody is left to wait for: every member proposed or is on its way out. */
export function isWhole(ballot: Ballot, leavers: readonly string[]): boolean {
  if (ballot.have === ballot.members.length) return true;
  if (ballot.have + leavers.length < ballot.members.length) return false;
  return ballot.members.every(({ id }, i) => ballot.proposals[i] !== null || leavers.includes(id));
}

export function patienceOf(ballot: Ballot): Patience {
  if (ballot.kind === 'final') return 'final';
  return ballot.due.length > 0 || ballot.cold ? 'evaluation' : 'probe';
}

/** Bounds of a member's probe count in the ledger's next round. */
export function probeBounds(ledger: Ledger): { min: number; max: number } {
  const { min, max } = effective(ledger.job!, currentStage(ledger).stage).estimator.probes;
  return { min: Math.min(Math.max(1, min), max), max };
}

export interface Changes {
  readonly elapsed: number;
  readonly joins: readonly Join[];
  /** Slots. */
  readonly leaves: readonly number[];
}

/** The round record that commits what the ballot holds. */
export function roundRecord(ballot: Ballot, { elapsed, joins, leaves }: Changes): RoundRecord {
  const bytes = ballot.proposals.map((proposal) => proposal?.bytes ?? EMPTY);
  return {
    kind: 'round',
    round: ballot.round,
    attempt: ballot.index < 0 ? 0 : turnOf(ballot, ballot.index),
    elapsed,
    loss: meanLoss(ballot.proposals),
    bytes,
    joins,
    leaves,
    evaluations: ballot.kind === 'final' || ballot.have > 0 ? evaluationsOf(ballot) : [],
    digest: ballot.kind === 'probe' && ballot.have > 0 && ballot.digestDue ? ballot.digest : null,
  };
}

/** A record that changes who is in and nothing else. Only good in a ballot of kind 'probe', or with nobody in. */
export function membershipRecord(ballot: Ballot, changes: Changes): RoundRecord {
  return roundRecord({ ...ballot, proposals: ballot.members.map(() => null), have: 0 }, changes);
}

const EMPTY = new Uint8Array(0);

function meanLoss(proposals: Ballot['proposals']): number {
  let [sum, count] = [0, 0];
  for (const proposal of proposals) {
    if (proposal === null || proposal.lossCount === 0 || Number.isNaN(proposal.lossSum)) continue;
    sum += proposal.lossSum;
    count += proposal.lossCount;
  }
  return count === 0 ? Number.NaN : sum / count;
}

/** By split, then slot, as the ledger wants them; what no honest member sends is left out. */
function evaluationsOf(ballot: Ballot): Evaluation[] {
  return ballot.due
    .toSorted((a, b) => SPLIT_ORDER[a] - SPLIT_ORDER[b])
    .flatMap((split) =>
      ballot.proposals.flatMap((proposal, i) => {
        const sums = proposal?.evaluations.find((item) => item.split === split);
        if (sums === undefined || sums.count === 0 || sums.correct > sums.count) return [];
        return [{ ...sums, slot: ballot.members[i]!.slot }];
      }),
    );
}

const SPLIT_ORDER: Readonly<Record<Split, number>> = { train: 0, validation: 1, test: 2 };
