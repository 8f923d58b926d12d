/** What a view is told of one record: the difference between the ledgers before and after it. Pure. */
import {
  emptyLedger,
  type Followed,
  type JournalRecord,
  type Ledger,
  type Member,
} from '../../worker/journal/index.ts';
import type { Observed, RoundObserved } from './events.ts';

/** `recordBytes`: the size of the record (its body), where known. */
export function observationsOf(
  before: Ledger,
  after: Ledger,
  record: JournalRecord,
  recordBytes?: number,
): Observed[] {
  switch (record.kind) {
    case 'round': {
      const members = record.bytes.map((bytes, i) => ({
        slot: before.members[i]?.slot ?? i,
        probes: bytes.length,
      }));
      const round: RoundObserved = {
        type: 'round',
        round: record.round,
        elapsed: record.elapsed,
        loss: record.loss,
        members: after.finished ? [] : members,
        payloadBytes: after.totals.payloadBytes - before.totals.payloadBytes,
        forwards: after.totals.forwards - before.totals.forwards,
        examples: after.totals.exampleForwards - before.totals.exampleForwards,
        final: after.finished,
        evaluations: record.evaluations,
        ...(recordBytes === undefined ? {} : { recordBytes }),
      };
      // A record that only admits or releases members is no round.
      const moved = after.round > before.round;
      return [...(moved ? [round] : []), ...membership(before.members, after.members, record.leaves)];
    }
    case 'dispute': {
      const { round, slot, reason, proposer, expected } = record;
      if (reason === 'tensor') return [{ type: 'divergence', round, slot, tensor: expected }];
      return [{ type: 'dispute', round, slot, reason, proposer: called(before.members, proposer) }];
    }
    default:
      return [];
  }
}

function membership(
  before: readonly Member[],
  after: readonly Member[],
  leaves: readonly number[],
): Observed[] {
  const stay = new Set(after.map((member) => member.id));
  const were = new Set(before.map((member) => member.id));
  return [
    ...before
      .filter((member) => !stay.has(member.id))
      .map(({ slot }) => ({ type: 'leave', slot, why: leaves.includes(slot) ? 'left' : 'lost' }) as const),
    ...after
      .filter((member) => !were.has(member.id))
      .map(({ slot, name, group }) => ({ type: 'join', slot, name, group }) as const),
  ];
}

/** A member's name by its id; the id itself where it is unknown. */
function called(members: readonly Member[], id: string): string {
  return members.find((member) => member.id === id)?.name ?? id;
}

/** All observations of applied records in order, as `readJournal` gives them. */
export function observeAll(entries: Iterable<Pick<Followed, 'ledger' | 'record' | 'body'>>): Observed[] {
  const observed: Observed[] = [];
  let before = emptyLedger();
  for (const { ledger, record, body } of entries) {
    // One by one: a spread of a long run's rounds would overflow the stack.
    for (const seen of observationsOf(before, ledger, record, body.length)) observed.push(seen);
    before = ledger;
  }
  return observed;
}
