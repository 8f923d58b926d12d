import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoundRecord } from '../../worker/journal/record.ts';
import { DIGEST, jobSpec, joinOf, put, roundOf, started } from '../journal/fixture.ts';
import { proposalOf, RUN, Seat } from './seat.ts';

/** No evaluation is due after round 0. */
const spec = jobSpec({ rounds: [20], every: 0 });
const ids = [0, 1, 2, 3].map((n) => joinOf(n).id);

/** `n` members before round 1, whose proposer is slot 1. */
function atRound1(n: number, job = spec) {
  const ledger = started(n, job);
  return put(ledger, roundOf(ledger));
}

const round = (seat: Seat) => seat.appended as RoundRecord;
const hex = (bytes: readonly Uint8Array[]) => bytes.map((own) => Buffer.from(own).toString('hex'));

test('a member that reaches a round is asked for its probes there', () => {
  const ledger = atRound1(3);
  const [probe] = Seat.at(2, ledger).of('probe');
  assert.equal(probe?.round, 1);
  assert.equal(probe?.slot, 2);
  assert.equal(probe?.count, 2);
  assert.deepEqual(probe?.roundChain, ledger.roundChain);
});

test('a member sends its bytes to the proposer of the first attempt', () => {
  const [sent] = Seat.at(2, atRound1(3)).probed(5, 6).of('send');
  assert.equal(sent?.to, ids[1]);
  assert.equal(sent?.message.kind, 'proposal');
});

test('the proposer commits at once when all proposals are in, in slot order', () => {
  const ledger = atRound1(3);
  const seat = Seat.at(1, ledger).probed(5, 6);
  assert.equal(seat.appended, undefined);
  seat.hear(ids[2]!, proposalOf(ledger, 2, [9]));
  assert.equal(seat.appended, undefined);
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7, 8]));
  assert.deepEqual(hex(round(seat).bytes), ['0708', '0506', '09']);
  assert.equal(round(seat).attempt, 0);
  assert.equal(round(seat).loss, 0.5);
  assert.equal(seat.of('append')[0]?.expectedLast, ledger.records);
});

test('the proposer commits without a straggler after its wait, and waits only once it has something', () => {
  const ledger = atRound1(3);
  const seat = Seat.at(1, ledger);
  assert.ok(!seat.timers.includes('wait'));
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7, 8]));
  assert.ok(seat.timers.includes('wait'));
  seat.timer('wait');
  assert.deepEqual(hex(round(seat).bytes), ['0708', '', '']);
});

test('a proposal that comes twice, or again with other bytes, changes nothing', () => {
  const ledger = atRound1(3);
  const seat = Seat.at(1, ledger).probed(5);
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7]));
  const before = seat.state.ballot;
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7]));
  seat.hear(ids[0]!, proposalOf(ledger, 0, [99]));
  assert.deepEqual(seat.state.ballot, before);
});

test('a proposal of another state, of another sender, or of a count that is not allowed is dropped', () => {
  const ledger = atRound1(3);
  const seat = Seat.at(1, ledger);
  seat.hear(ids[0]!, { ...proposalOf(ledger, 0, [7]), tag: 'ffffffffffffffff' });
  seat.hear(ids[0]!, proposalOf(ledger, 2, [7]));
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7, 7, 7]));
  seat.hear(ids[0]!, proposalOf(ledger, 0, []));
  assert.equal(seat.state.ballot?.have, 0);
});

test('a proposal that overtakes the record it builds on is kept for its round', () => {
  const ledger = atRound1(3);
  const record = roundOf(ledger);
  const seat = Seat.at(2, ledger);
  seat.hear(ids[0]!, proposalOf(put(ledger, record), 0, [7]));
  seat.follow(record);
  assert.deepEqual(hex([seat.state.ballot!.proposals[0]!.bytes]), ['07']);
});

test('when nobody commits, members turn to the next proposer, who commits for its own attempt', () => {
  const ledger = atRound1(3);
  const first = Seat.at(0, ledger).probed(5);
  const second = Seat.at(2, ledger).probed(6);
  first.timer('attempt');
  const [again] = first.of('send');
  assert.equal(again?.to, ids[2]);
  second.hear(ids[0]!, again!.message);
  assert.equal(second.appended, undefined);
  second.timer('wait');
  assert.deepEqual(hex(round(second).bytes), ['05', '', '06']);
  assert.equal(round(second).attempt, 1);
});

test('every member is a proposer after as many time-outs as doubling takes, however many are lost', () => {
  const ledger = atRound1(4);
  const seat = Seat.at(0, ledger).probed(5);
  const timeOuts = [1, 2, 3].find(() =>
    seat
      .timer('attempt')
      .of('setTimer')
      .some(({ name }) => name === 'wait'),
  );
  assert.equal(timeOuts, 2);
  seat.timer('wait');
  assert.equal(round(seat).attempt, 3);
});

test('a lost append waits for the entry that won, and a new append follows it', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(1, ledger).probed(5);
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7]));
  seat.feed({ type: 'conflict', expectedLast: ledger.records });
  assert.equal(seat.appended, undefined);
  const join = { ...roundOf(ledger), bytes: [new Uint8Array(0), new Uint8Array(0)], joins: [joinOf(2)] };
  seat.follow(join);
  // Slot 1 proposes in a round of three too; it waits for the newcomer.
  assert.equal(seat.appended, undefined);
  seat.timer('wait');
  assert.deepEqual(hex(round(seat).bytes), ['07', '05', '']);
});

test('an append that nobody answered is tried again', () => {
  const ledger = atRound1(1);
  const seat = Seat.at(0, ledger).probed(5);
  seat.feed({ type: 'unavailable', expectedLast: ledger.records });
  assert.ok(seat.timers.includes('retry'));
  seat.timer('retry');
  assert.deepEqual(hex(round(seat).bytes), ['05']);
});

test('a newcomer asks to be let in, again and again, until a record admits it', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(2, ledger).feed({ type: 'prepared' });
  const waits: number[] = [];
  for (let i = 0; i < 3; i++) {
    seat.timer('join');
    assert.equal(seat.of('broadcast')[0]?.message.kind, 'join');
    waits.push(seat.of('setTimer').find(({ name }) => name === 'join')!.ms);
  }
  assert.ok(waits[0]! < waits[1]! && waits[1]! < waits[2]!);
  seat.follow(roundOf(ledger, { joins: [joinOf(2)] }));
  assert.ok(seat.of('cancelTimer').some(({ name }) => name === 'join'));
  assert.equal(seat.of('probe')[0]?.slot, 2);
});

test('a newcomer asks for nothing before its engine is ready, and then at once', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(2, ledger);
  assert.deepEqual([seat.of('prepare').length, seat.timers], [1, []]);
  seat.follow(roundOf(ledger));
  assert.deepEqual([seat.of('prepare'), seat.timers], [[], []]);
  seat.feed({ type: 'prepared' });
  assert.deepEqual(seat.of('setTimer'), [{ type: 'setTimer', name: 'join', ms: 0 }]);
});

test('a newcomer that nobody answers lets itself in without harm to the open round', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(2, ledger).feed({ type: 'prepared' });
  for (let i = 0; i < 5; i++) assert.equal(seat.timer('join').appended, undefined);
  seat.timer('join');
  assert.deepEqual(round(seat).joins, [joinOf(2)]);
  const after = put(ledger, round(seat));
  assert.deepEqual([after.round, after.roundChain], [ledger.round, ledger.roundChain]);
});

test('a newcomer to a run that has been silent for many of its rounds lets itself in soon', () => {
  let ledger = atRound1(2);
  const seat = Seat.at(2, ledger);
  for (let i = 0; i < 8; i++) {
    const record = roundOf(ledger, { elapsed: 60 });
    seat.follow(record);
    ledger = put(ledger, record);
  }
  seat.feed({ type: 'prepared' });
  for (const after of [0, 500]) {
    seat.feed({ type: 'timer', name: 'join' }, after);
    assert.equal(seat.appended, undefined);
  }
  seat.feed({ type: 'timer', name: 'join' }, 1000);
  assert.deepEqual(round(seat).joins, [joinOf(2)]);
});

test('a worker that starts again takes the place of its earlier life, unless that one is heard of', () => {
  const ledger = atRound1(3);
  const again = { ...joinOf(7), name: joinOf(2).name };
  const leavesOf = (...heard: number[]) => {
    const seat = Seat.at(1, ledger).hear(again.id, { kind: 'join', run: RUN, join: again });
    for (const slot of heard) seat.hear(ids[slot]!, proposalOf(ledger, slot, [7]));
    seat.probed(5);
    if (heard.length < 2) seat.timer('wait');
    assert.deepEqual(round(seat).joins, [again]);
    return round(seat).leaves;
  };
  assert.deepEqual(leavesOf(0), [2]);
  assert.deepEqual(leavesOf(0, 2), []);
  const after = put(ledger, roundOf(ledger, { joins: [again], leaves: [2] }));
  assert.deepEqual(
    after.members.map(({ id, slot }) => [id, slot]),
    [
      [ids[0], 0],
      [ids[1], 1],
      [again.id, 2],
    ],
  );
});

test('a proposer admits those who asked, with the next record', () => {
  const ledger = atRound1(1);
  const seat = Seat.at(0, ledger);
  seat.hear(ids[1]!, { kind: 'join', run: RUN, join: joinOf(1) });
  seat.hear(ids[3]!, { kind: 'join', run: 'ffffffffffffffff', join: joinOf(3) });
  seat.hear(ids[3]!, { kind: 'join', run: RUN, join: joinOf(2) });
  assert.deepEqual(round(seat.probed(5)).joins, [joinOf(1)]);
});

test('a run without members waits for the expected number, then the first by id starts it with all of them', () => {
  const ledger = started(0, spec);
  const seat = Seat.at(0, ledger, { expected: 3, grace: 5000 });
  const boots = () => seat.of('setTimer').filter(({ name }) => name === 'boot');
  assert.equal(boots().at(-1)?.ms, 5000);
  seat.hear(ids[2]!, { kind: 'join', run: RUN, join: joinOf(2) });
  assert.equal(boots().length, 0);
  seat.hear(ids[1]!, { kind: 'join', run: RUN, join: joinOf(1) });
  assert.equal(boots().at(-1)?.ms, 0);
  seat.timer('boot');
  assert.deepEqual(round(seat).joins, [joinOf(0), joinOf(1), joinOf(2)]);
});

test('a run without members starts with whoever is there after the grace time, one trying after the other', () => {
  const seat = Seat.at(1, started(0, spec), { expected: 4, grace: 5000 });
  seat.feed({ type: 'timer', name: 'boot' }, 5000);
  assert.deepEqual(round(seat).joins, [joinOf(1)]);
  const second = Seat.at(1, started(0, spec), { expected: 4, grace: 5000 });
  second.hear(ids[0]!, { kind: 'join', run: RUN, join: joinOf(0) });
  second.feed({ type: 'timer', name: 'boot' }, 4999);
  assert.equal(second.appended, undefined);
  assert.deepEqual(second.timers, ['boot']);
  second.feed({ type: 'timer', name: 'boot' }, 200);
  assert.deepEqual(round(second).joins, [joinOf(0), joinOf(1)]);
});

test('a member that leaves stops its probes, says so, and goes when a record lets it', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger).feed({ type: 'leave' });
  assert.equal(seat.of('abandon').length, 1);
  assert.equal(seat.of('broadcast')[0]?.message.kind, 'leave');
  seat.follow(roundOf(ledger, { leaves: [0], bytes: [new Uint8Array(0), Uint8Array.of(1)] }));
  assert.deepEqual(seat.of('left'), [{ type: 'left', released: true }]);
});

test('a proposer that leaves still commits the others, and itself out, and waits for nobody who leaves', () => {
  const ledger = atRound1(3);
  const seat = Seat.at(1, ledger);
  seat.hear(ids[0]!, proposalOf(ledger, 0, [7]));
  seat.hear(ids[2]!, { kind: 'leave', run: RUN });
  seat.feed({ type: 'leave' });
  assert.deepEqual(round(seat).leaves, [1, 2]);
  assert.deepEqual(hex(round(seat).bytes), ['07', '', '']);
});

test('the last member takes itself out at once', () => {
  const seat = Seat.at(0, atRound1(1)).feed({ type: 'leave' });
  assert.deepEqual(round(seat).leaves, [0]);
});

test('a member whose leave nobody commits takes itself out, and gives up in the end', () => {
  const seat = Seat.at(0, atRound1(2), { leaveWithin: 3000 }).feed({ type: 'leave' });
  seat.timer('leave').timer('leave');
  assert.deepEqual(round(seat).leaves, [0]);
  seat.feed({ type: 'timer', name: 'leave' }, 3000);
  assert.deepEqual(seat.of('left'), [{ type: 'left', released: false }]);
});

test('a member that was let go asks to come back, a little later each time', () => {
  let ledger = atRound1(2);
  const seat = Seat.at(0, ledger);
  const bytes = [new Uint8Array(0), Uint8Array.of(1)];
  for (let i = 0; i < 4; i++) {
    seat.follow(roundOf(ledger, { bytes }));
    ledger = seat.state.ledger;
  }
  assert.equal(ledger.members.length, 1);
  // What made it miss them may take longer yet.
  assert.equal(seat.of('prepare').length, 1);
  seat.feed({ type: 'prepared' });
  const join = seat.of('setTimer').find(({ name }) => name === 'join');
  assert.ok(join !== undefined && join.ms > 0);
});

test('a member whose bytes a record changed disputes them and names the proposer', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger).probed(5, 6);
  seat.follow(roundOf(ledger, { bytes: [Uint8Array.of(5, 7), Uint8Array.of(1)] }));
  assert.deepEqual(seat.appended, {
    kind: 'dispute',
    round: 1,
    slot: 0,
    member: ids[0],
    proposer: ids[1],
    reason: 'bytes',
    expected: '0506',
  });
  seat.follow(seat.appended!);
  assert.equal(seat.appended, undefined);
});

test('bytes for a member that never sent any are disputed too', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger).follow(roundOf(ledger));
  assert.equal(seat.appended?.kind, 'dispute');
});

test('an heir disputes no bytes of its first round, for which its predecessor may have spoken, and those of later ones', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger, { heir: true }).probed(5);
  seat.follow(roundOf(ledger, { bytes: [Uint8Array.of(9, 9), Uint8Array.of(1)] }));
  assert.equal(seat.appended, undefined);
  seat.probed(5);
  seat.follow(roundOf(seat.state.ledger, { bytes: [Uint8Array.of(9), Uint8Array.of(1)] }));
  assert.equal(seat.of('append')[0]?.record.kind, 'dispute');
});

test('the proposer puts the digest of the state into the rounds that the job checks', () => {
  const ledger = atRound1(1, { ...spec, checkpoint: { everyRounds: 1 } });
  const seat = Seat.at(0, ledger);
  const [asked] = seat.of('digest');
  assert.equal(seat.probed(5).appended, undefined);
  seat.feed({ type: 'digested', tag: asked!.tag, digest: DIGEST });
  assert.equal(round(seat).digest, DIGEST);
});

test('a member with another digest disputes it, falls silent and rebuilds; what it then still holds it keeps', () => {
  const ledger = atRound1(2);
  const mine = 'cd'.repeat(32);
  const record = roundOf(ledger, { bytes: [new Uint8Array(0), Uint8Array.of(1)], digest: DIGEST });
  const seat = Seat.at(0, ledger).follow(record, mine);
  assert.deepEqual(seat.of('diverged'), [{ type: 'diverged', round: 1, expected: DIGEST, own: mine }]);
  const dispute = seat.appended;
  assert.ok(dispute?.kind === 'dispute' && dispute.reason === 'digest' && dispute.proposer === ids[1]);
  assert.equal(seat.of('probe').length, 0);

  const last = seat.state.seq;
  seat.feed({ type: 'rebuilding', why: 'diverged', last });
  seat.state = { ...seat.state, ledger, seq: last - 1 };
  seat.follow(record, mine);
  assert.equal(seat.of('diverged').length, 0);
  assert.equal(seat.of('probe').length, 1);
});

test('a member that finds its own state wrong says so once it is up to date again, by the tensor', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger);
  const { seq } = seat.state;
  seat.state = { ...seat.state, target: seq + 2 };
  seat.feed({ type: 'compared', round: 0, tensors: ['b.weight', 'c.bias'] });
  seat.follow(roundOf(ledger));
  assert.equal(seat.appended, undefined);
  seat.follow(roundOf(seat.state.ledger));
  assert.deepEqual(seat.appended, {
    kind: 'dispute',
    round: 0,
    slot: 0,
    member: ids[0],
    proposer: ids[0],
    reason: 'tensor',
    expected: 'b.weight',
  });
  const right = Seat.at(0, ledger);
  assert.equal(right.feed({ type: 'compared', round: 0, tensors: [] }).state.disputes.length, 0);
});

test('a proposer whose digest half of the others dispute takes itself for wrong', () => {
  const ledger = atRound1(3);
  const seat = Seat.at(1, ledger).probed(1, 2);
  const bytes = [Uint8Array.of(1), Uint8Array.of(1, 2), Uint8Array.of(1)];
  seat.follow(roundOf(ledger, { digest: DIGEST, bytes }), DIGEST);
  seat.follow({
    kind: 'dispute',
    round: 1,
    slot: 0,
    member: ids[0]!,
    proposer: ids[1]!,
    reason: 'digest',
    expected: 'cd'.repeat(32),
  });
  assert.equal(seat.of('diverged').length, 1);
});

test('after a lost tail a member says again what it said, rather than something else for the same round', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger).probed(5, 6);
  seat.follow(roundOf(ledger, { bytes: [Uint8Array.of(5, 6), Uint8Array.of(1)] }));
  seat.feed({ type: 'truncated', seq: ledger.records, ledger });
  assert.equal(seat.of('probe').length, 0);
  const [sent] = seat.of('send');
  assert.ok(sent?.message.kind === 'proposal');
  assert.deepEqual(hex([sent.message.bytes]), ['0506']);
});

test('an evaluation that is due goes with the bytes, and its share follows from who is in', () => {
  const ledger = started(3, jobSpec({ rounds: [20], every: 2 }));
  const seat = Seat.at(1, ledger);
  const [asked] = seat.of('evaluate');
  assert.deepEqual(asked?.splits, ['validation', 'test']);
  assert.deepEqual(asked?.shard, { index: 1, of: 3, cap: 256 });
  assert.equal(seat.probed(5).of('send').length, 0);
  const sums = [{ split: 'validation' as const, count: 10, lossSum: 3, correct: 7 }];
  seat.feed({ type: 'evaluated', tag: asked!.tag, slot: 1, sums });
  const [sent] = seat.of('send');
  assert.ok(sent?.message.kind === 'proposal');
  assert.deepEqual(sent.message.evaluations, sums);
});

test('who is let in while a round is open says nothing of the rows that its members share, and passes theirs on', () => {
  const ledger = started(1, jobSpec({ rounds: [20], every: 2 }));
  const none = new Uint8Array(0);
  const seat = Seat.at(1, ledger).follow(roundOf(ledger, { bytes: [none], joins: [joinOf(1), joinOf(2)] }));
  // It takes as long as they do, or the round would not wait for them.
  assert.deepEqual([seat.of('evaluate').length, seat.of('probe').length], [1, 1]);
  const sums = { split: 'test' as const, count: 10, lossSum: 3, correct: 7 };
  const { tag } = seat.state.ballot!;
  seat.feed({ type: 'evaluated', tag, slot: 1, sums: [{ ...sums, count: 5 }] });
  // Work that a lost tail took along is asked for again, and no more than that.
  seat.feed({ type: 'truncated', seq: seat.state.seq, ledger: seat.state.ledger });
  assert.deepEqual([seat.of('evaluate').length, seat.of('probe').length], [0, 1]);
  seat.probed(5).timer('attempt');
  seat.hear(ids[0]!, { ...proposalOf(seat.state.ledger, 0, [7], 1), evaluations: [sums] });
  seat.timer('wait');
  assert.deepEqual(hex(round(seat).bytes), ['07', '05', '']);
  assert.deepEqual(round(seat).evaluations, [{ ...sums, slot: 0 }]);
});

test('who is let in first of a group while a round is open has rows that nobody else has', () => {
  const ledger = started(1, jobSpec({ rounds: [20], every: 2 }));
  const joins = [joinOf(1, 'b'), joinOf(2, 'b')];
  const seat = Seat.at(1, ledger).follow(roundOf(ledger, { bytes: [new Uint8Array(0)], joins }));
  const sums = [{ split: 'test' as const, count: 10, lossSum: 3, correct: 7 }];
  seat.feed({ type: 'evaluated', tag: seat.state.ballot!.tag, slot: 1, sums });
  seat.probed(5);
  assert.deepEqual(seat.state.ballot!.own!.evaluations, sums);
});

test('who takes the place of all members while a round is open evaluates what they were to', () => {
  const ledger = started(1, jobSpec({ rounds: [20], every: 2 }));
  const record = roundOf(ledger, { bytes: [new Uint8Array(0)], joins: [joinOf(1), joinOf(2)], leaves: [0] });
  const [asked] = Seat.at(1, ledger).follow(record).of('evaluate');
  assert.equal(asked?.shard.of, 2);
});

test('after the last update comes a final evaluation without bytes, then the end with the digest', () => {
  const ledger = started(1, jobSpec({ rounds: [1] }));
  const seat = Seat.at(0, ledger);
  seat.feed({ type: 'evaluated', tag: seat.state.ballot!.tag, slot: 0, sums: [] }).probed(5);
  seat.follow(round(seat));
  assert.equal(seat.of('probe').length, 0);
  const [asked] = seat.of('evaluate');
  assert.deepEqual(asked?.splits, ['validation', 'test']);
  const sums = [{ split: 'test' as const, count: 10, lossSum: 3, correct: 7 }];
  seat.feed({ type: 'evaluated', tag: asked!.tag, slot: 0, sums });
  assert.deepEqual(round(seat).evaluations, [{ ...sums[0]!, slot: 0 }]);
  seat.follow(round(seat));
  const [digest] = seat.of('digest');
  seat.feed({ type: 'digested', tag: digest!.tag, digest: DIGEST });
  assert.deepEqual(seat.appended, { kind: 'end', round: 1, digest: DIGEST, reason: 'rounds' });
  seat.follow(seat.appended!, DIGEST);
  assert.deepEqual(seat.of('finished')[0]?.own, DIGEST);
});

test('a run that is cancelled ends where it stands', () => {
  const ledger = atRound1(2);
  const seat = Seat.at(0, ledger).feed({ type: 'cancel' });
  const [asked] = seat.of('digest');
  seat.feed({ type: 'digested', tag: asked!.tag, digest: DIGEST });
  assert.deepEqual(seat.appended, { kind: 'end', round: 1, digest: DIGEST, reason: 'cancelled' });
});

test('the proposer tells a member that came long after the first, who then evaluates fewer probes', () => {
  const ledger = atRound1(2, jobSpec({ rounds: [20], every: 0, probes: 8 }));
  const proposer = Seat.at(1, ledger);
  proposer.now += 100;
  proposer.probed(1, 2, 3, 4, 5, 6, 7, 8);
  proposer.now += 300;
  const eight = new Array<number>(8).fill(3);
  const after = (frozenSeconds: number) => {
    const slow = Seat.at(0, ledger);
    slow.now += 400;
    return slow.probedOnce(frozenSeconds, ...eight);
  };
  const [slow, once] = [after(0), after(0.3)];
  proposer.hear(ids[0]!, slow.of('send')[0]!.message);
  const [notice] = proposer.of('send');
  assert.equal(notice?.message.kind, 'late');
  for (const told of [slow, once]) {
    told.hear(ids[1]!, notice!.message);
    told.follow(proposer.appended!);
  }
  assert.ok(slow.of('probe')[0]!.count <= 2);
  assert.equal(once.of('probe')[0]!.count, 8, 'what took it longer does not come again');
});

test('a member that is still catching up takes no part', () => {
  const ledger = atRound1(2);
  const seat = new Seat(0);
  seat.state = { ...seat.state, seq: ledger.records - 1, ledger: started(2, spec) };
  seat.feed({ type: 'started', last: ledger.records + 1 });
  seat.follow(roundOf(seat.state.ledger));
  assert.deepEqual(
    seat.effects.map(({ type }) => type),
    ['setTimer'],
  );
  // What it waits for is gone.
  seat.timer('catchUp');
  assert.equal(seat.of('look').length, 1);
  seat.feed({ type: 'started', last: seat.state.seq });
  assert.equal(seat.of('probe').length, 1);
});

test('somebody new who waits for the end leaves it to members that say they are there, and ends a run that has none', () => {
  const final = put(started(1, jobSpec({ rounds: [1] })), roundOf(started(1, jobSpec({ rounds: [1] }))));
  const seat = Seat.at(3, final);
  const member = Seat.at(0, final);
  const minutes = 3 * 60;
  for (let i = 0; i < minutes; i++) {
    seat.feed({ type: 'timer', name: 'join' }, 1000);
    member.hear(ids[3]!, seat.of('broadcast')[0]!.message);
    seat.hear(ids[0]!, member.of('send')[0]!.message);
    assert.equal(seat.feed({ type: 'timer', name: 'takeover' }, 0).appended, undefined);
  }
  seat.feed({ type: 'timer', name: 'takeover' }, 60_000);
  assert.deepEqual(hex(round(seat).bytes), ['']);
  assert.equal(put(final, round(seat)).finished, true);
});

test('a digest that a stranger writes into a run without members is checked like any other', () => {
  const ledger = started(0, spec);
  const seat = Seat.at(0, ledger).follow(
    roundOf(ledger, { bytes: [], joins: [joinOf(3)], digest: DIGEST }),
    'cd'.repeat(32),
  );
  assert.equal(seat.of('diverged').length, 1);
});

test('a proposer that is of another mind than a rebuilt replica is not believed again', () => {
  let ledger = atRound1(2);
  const mine = 'cd'.repeat(32);
  const bytes = [new Uint8Array(0), Uint8Array.of(1)];
  const record = roundOf(ledger, { bytes, digest: DIGEST });
  const seat = Seat.at(0, ledger).follow(record, mine);
  seat.feed({ type: 'rebuilding', why: 'diverged', last: seat.state.seq });
  seat.state = { ...seat.state, ledger, seq: ledger.records };
  seat.follow(record, mine);
  for (let i = 0; i < 2; i++) {
    ledger = seat.state.ledger;
    seat.follow(roundOf(ledger, { bytes, digest: DIGEST }), mine);
    // Slot 1 proposed the second of them: it is only disputed.
    assert.equal(seat.of('diverged').length, i === 0 ? 1 : 0);
    if (i === 0) seat.state = { ...seat.state, muted: false };
  }
});
