import type { Followed } from './follow.ts';
import {
  type CombinedEvaluation,
  combine,
  type Ledger,
  type Member,
  probesOf,
  SPLITS,
  type Split,
  type Totals,
} from './ledger.ts';
import { stageOf } from './plan.ts';
import type { DisputeRecord, EndRecord, RoundRecord } from './record.ts';
import { payloadBytes } from './signs.ts';

export interface RoundSummary {
  readonly round: number;
  /** `update` moved the state; the other two are explained at `Ledger`. */
  readonly type: 'update' | 'membership' | 'final';
  /** Index in the plan. */
  readonly stage: number;
  /** Milliseconds. */
  readonly elapsed: number;
  readonly attempt: number;
  /** NaN where nobody measured one. */
  readonly loss: number;
  /** Who was in, in slot order, and how many probes each evaluated. */
  readonly members: readonly string[];
  readonly counts: readonly number[];
  readonly payloadBytes: number;
  readonly joined: readonly string[];
  /** Who is out after this record, by a leave or because it missed too many rounds. */
  readonly left: readonly string[];
  readonly evaluations: { readonly [split in Split]: CombinedEvaluation | null };
}

export interface MemberSummary {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly slot: number;
  readonly examples: number;
  /** First round it could contribute to; the last one, or null while it is in. */
  readonly first: number;
  readonly last: number | null;
  /** Rounds with at least one probe. */
  readonly rounds: number;
  readonly probes: number;
}

export interface DigestSummary {
  readonly round: number;
  readonly source: 'genesis' | 'round' | 'checkpoint' | 'end';
  readonly digest: string;
}

/** What a journal says, for people: `onebyte journal`, the report, the terminal view. */
export interface JournalSummary {
  readonly name: string;
  readonly uid: string;
  /** Start, in milliseconds since the epoch; 0 of an empty journal. */
  readonly at: number;
  readonly records: number;
  readonly rounds: readonly RoundSummary[];
  readonly members: readonly MemberSummary[];
  readonly totals: Totals;
  readonly evaluations: Ledger['evaluations'];
  /** Of the state at the start of `round`, in the order of the records. */
  readonly digests: readonly DigestSummary[];
  readonly disputes: readonly DisputeRecord[];
  readonly end: EndRecord | null;
}

/** Sums up applied records in order, as `follow` and `readJournal` give them. */
export function summarise(entries: Iterable<Pick<Followed, 'ledger' | 'record'>>): JournalSummary {
  const rounds: RoundSummary[] = [];
  const members = new Map<string, Draft>();
  const digests: DigestSummary[] = [];
  const disputes: DisputeRecord[] = [];
  let last: Ledger | null = null;
  for (const { ledger, record } of entries) {
    if (record.kind === 'genesis') digests.push({ round: 0, source: 'genesis', digest: record.state });
    else if (record.kind === 'round') {
      rounds.push(summariseRound(last!, record, ledger));
      count(members, last!, record, ledger);
    } else if (record.kind === 'dispute') disputes.push(record);
    if ((record.kind === 'round' || record.kind === 'checkpoint' || record.kind === 'end') && record.digest)
      digests.push({ round: record.round, source: record.kind, digest: record.digest });
    last = ledger;
  }
  return {
    name: last?.name ?? '',
    uid: last?.genesis?.uid ?? '',
    at: last?.genesis?.at ?? 0,
    records: last?.records ?? 0,
    rounds,
    members: [...members.values()].sort((a, b) => a.first - b.first || a.slot - b.slot),
    totals: last?.totals ?? NOTHING,
    evaluations: last?.evaluations ?? { train: null, validation: null, test: null },
    digests,
    disputes,
    end: last?.end ?? null,
  };
}

const NOTHING: Totals = {
  probes: 0,
  payloadBytes: 0,
  forwards: 0,
  exampleForwards: 0,
  disputes: 0,
  rounds: 0,
  elapsed: 0,
};

interface Draft extends Omit<MemberSummary, 'last' | 'rounds' | 'probes'> {
  last: number | null;
  rounds: number;
  probes: number;
}

function summariseRound(before: Ledger, record: RoundRecord, after: Ledger): RoundSummary {
  const [train, validation, test] = SPLITS.map((split) => combine(record, split));
  return {
    round: record.round,
    type: probesOf(record) > 0 ? 'update' : after.finished ? 'final' : 'membership',
    stage: stageOf(before.job!, record.round).index,
    elapsed: record.elapsed,
    attempt: record.attempt,
    loss: record.loss,
    members: before.members.map((member) => member.id),
    counts: record.bytes.map((bytes) => bytes.length),
    payloadBytes: payloadBytes(record.bytes),
    joined: record.joins.map((join) => join.id),
    left: gone(before, after).map((member) => member.id),
    evaluations: { train: train!, validation: validation!, test: test! },
  };
}

function count(members: Map<string, Draft>, before: Ledger, record: RoundRecord, after: Ledger): void {
  for (const [i, { id }] of before.members.entries()) {
    const draft = members.get(id)!;
    const probes = record.bytes[i]!.length;
    draft.probes += probes;
    if (probes > 0) draft.rounds++;
  }
  for (const member of gone(before, after)) members.get(member.id)!.last = record.round;
  const known = new Set(before.members.map((member) => member.id));
  for (const { missed: _, joined, ...join } of after.members) {
    if (known.has(join.id)) continue;
    const before = members.get(join.id) ?? { rounds: 0, probes: 0 };
    members.set(join.id, { first: joined, ...before, ...join, last: null });
  }
}

function gone(before: Ledger, after: Ledger): readonly Member[] {
  const ids = new Set(after.members.map((member) => member.id));
  return before.members.filter((member) => !ids.has(member.id));
}
