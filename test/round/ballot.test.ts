import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sealRecord } from '../../worker/journal/envelope.ts';
import type { Ledger } from '../../worker/journal/ledger.ts';
import {
  accept,
  type Ballot,
  isFit,
  isWhole,
  membershipRecord,
  openBallot,
  proposerOf,
  reseat,
  roundRecord,
  seatOf,
  turnOf,
} from '../../worker/round/ballot.ts';
import type { Proposal } from '../../worker/round/messages.ts';
import { jobSpec, joinOf, put, roundOf, started } from '../journal/fixture.ts';
import { proposalOf } from './seat.ts';

/** What decodes, however odd. */
const anyEvaluations = fc.uniqueArray(
  fc.record({
    split: fc.constantFrom('train' as const, 'validation' as const, 'test' as const),
    count: fc.nat(2 ** 31 - 1),
    correct: fc.nat(2 ** 31 - 1),
    lossSum: fc.float(),
  }),
  { selector: ({ split }) => split },
);
const anyProposal = (ledger: Ledger): fc.Arbitrary<Proposal> =>
  fc
    .record({
      slot: fc.nat(5),
      bytes: fc.array(fc.nat(255), { maxLength: 3 }),
      lossSum: fc.float(),
      lossCount: fc.nat(2 ** 31 - 1),
      evaluations: anyEvaluations,
    })
    .map(({ slot, bytes, ...rest }) => ({ ...proposalOf(ledger, slot, bytes), ...rest }));

function filled(ledger: Ledger, proposals: readonly Proposal[]): Ballot {
  let ballot = openBallot(ledger, joinOf(0).id, 0);
  for (const [i, proposal] of proposals.entries()) {
    const seat = seatOf(ballot, joinOf(proposal.slot).id, proposal.slot);
    if (seat >= 0 && isFit(ballot, proposal, 2)) ballot = accept(ballot, seat, proposal, i);
  }
  return ballot;
}

test('whatever members send, the record of it can be written and followed', () => {
  const first = started(4, jobSpec({ rounds: [4], every: 1 }));
  const final = started(3, jobSpec({ rounds: [1] }));
  for (const ledger of [first, put(first, roundOf(first)), put(final, roundOf(final))])
    fc.assert(
      fc.property(fc.array(anyProposal(ledger), { maxLength: 12 }), (proposals) => {
        const ballot = filled(ledger, proposals);
        const changes = { elapsed: 3, joins: ballot.kind === 'probe' ? [joinOf(9)] : [], leaves: [1] };
        assert.doesNotThrow(() => sealRecord(ledger, roundRecord(ballot, changes)));
        if (ballot.kind === 'probe')
          assert.doesNotThrow(() => sealRecord(ledger, membershipRecord(ballot, changes)));
      }),
      { numRuns: 300 },
    );
});

test('the first proposal of a member counts, in whatever order the others come', () => {
  const ledger = started(5, jobSpec({ rounds: [4] }));
  fc.assert(
    fc.property(
      fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }),
      fc.array(anyProposal(ledger), { maxLength: 6 }),
      (order, later) => {
        const ballot = filled(ledger, [
          ...order.map((slot) => proposalOf(ledger, slot, [slot + 1])),
          ...later,
        ]);
        assert.deepEqual(
          ballot.proposals.map((proposal) => [...proposal!.bytes]),
          [[1], [2], [3], [4], [5]],
        );
        assert.ok(isWhole(ballot, []));
      },
    ),
  );
});

test('a ballot waits for nobody who leaves, and for everybody else', () => {
  const ledger = started(3, jobSpec({ rounds: [4] }));
  const ballot = filled(ledger, [proposalOf(ledger, 0, [1])]);
  assert.equal(isWhole(ballot, [joinOf(1).id]), false);
  assert.equal(isWhole(ballot, [joinOf(1).id, joinOf(7).id]), false);
  assert.equal(isWhole(ballot, [joinOf(1).id, joinOf(2).id]), true);
});

test('every member has its turn to propose, and it is the one that attempts count to', () => {
  const ledger = started(4, jobSpec({ rounds: [9] }));
  const ballot = { ...openBallot(ledger, joinOf(2).id, 0), round: 7 };
  for (const [index, member] of ballot.members.entries())
    assert.equal(proposerOf(ballot, turnOf(ballot, index)).id, member.id);
});

test('a change of members keeps what those who stay have said', () => {
  const ledger = started(3, jobSpec({ rounds: [4] }));
  const ballot = filled(ledger, [proposalOf(ledger, 0, [1]), proposalOf(ledger, 2, [3])]);
  const none = new Uint8Array(0);
  const after = put(ledger, roundOf(ledger, { bytes: [none, none, none], leaves: [0], joins: [joinOf(8)] }));
  const seated = reseat(ballot, after.members, joinOf(1).id);
  assert.deepEqual(
    seated.members.map(({ id }) => id),
    [joinOf(8).id, joinOf(1).id, joinOf(2).id],
  );
  assert.deepEqual(
    seated.proposals.map((proposal) => proposal?.bytes[0]),
    [undefined, undefined, 3],
  );
  assert.equal(seated.have, 1);
});
