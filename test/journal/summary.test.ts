import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { emptyLedger } from '../../worker/journal/ledger.ts';
import { summarise } from '../../worker/journal/summary.ts';
import { DIGEST, jobSpec, joinOf, put, roundOf, started, wholeRun } from './fixture.ts';

function entries(records = wholeRun()) {
  let ledger = emptyLedger();
  return records.map((record) => {
    ledger = put(ledger, record);
    return { record, ledger };
  });
}

describe('the summary of a journal', () => {
  it('of nothing is empty', () => {
    const summary = summarise([]);
    assert.equal(summary.records, 0);
    assert.deepEqual(summary.rounds, []);
    assert.equal(summary.end, null);
  });

  it('tells what each round was', () => {
    const { rounds, totals } = summarise(entries());
    assert.deepEqual(
      rounds.map(({ round, type, stage }) => [round, type, stage]),
      [
        [0, 'membership', 0],
        [0, 'update', 0],
        [1, 'update', 0],
        [2, 'update', 0],
        [3, 'update', 1],
        [4, 'update', 1],
        [5, 'final', 1],
      ],
    );
    assert.deepEqual(rounds[2]!.counts, [2, 0, 2]);
    assert.equal(rounds[2]!.attempt, 2);
    assert.deepEqual(rounds[2]!.joined, [joinOf(3).id]);
    assert.deepEqual(rounds[3]!.left, [joinOf(1).id]);
    assert.equal(rounds[3]!.evaluations.validation?.count, 3 * 64 + 64);
    assert.equal(
      rounds.reduce((sum, round) => sum + round.payloadBytes, 0),
      totals.payloadBytes,
    );
  });

  it('tells when each member took part and how much it did', () => {
    const { members, totals } = summarise(entries());
    assert.deepEqual(
      members.map(({ name, first, last, rounds, probes }) => [name, first, last, rounds, probes]),
      [
        ['worker-0', 0, null, 5, 10],
        ['worker-1', 0, 2, 2, 4],
        ['worker-2', 0, null, 5, 10],
        ['worker-3', 2, null, 3, 6],
      ],
    );
    assert.equal(members[1]!.group, 'hospital-a');
    assert.equal(
      members.reduce((sum, member) => sum + member.probes, 0),
      totals.probes,
    );
  });

  it('lists every digest with the round whose start state it speaks of', () => {
    const { digests, disputes, end, name } = summarise(entries());
    assert.deepEqual(
      digests.map(({ round, source }) => [round, source]),
      [
        [0, 'genesis'],
        [1, 'round'],
        [3, 'checkpoint'],
        [5, 'end'],
      ],
    );
    assert.ok(digests.every(({ digest }) => digest === DIGEST));
    assert.deepEqual(
      disputes.map(({ reason }) => reason),
      ['bytes', 'tensor'],
    );
    assert.equal(end?.reason, 'rounds');
    assert.equal(name, 'sentiment');
  });

  it('takes up again a member that comes back under its old id', () => {
    let ledger = started(2, jobSpec({ rounds: [9] }));
    const list: Parameters<typeof summarise>[0] = [];
    const seen = list as { ledger: typeof ledger; record: ReturnType<typeof roundOf> }[];
    const add = (record: ReturnType<typeof roundOf>) => {
      ledger = put(ledger, record);
      seen.push({ ledger, record });
    };
    ledger = started(0, jobSpec({ rounds: [9] }));
    const start = { ledger, record: { ...roundOf(ledger), kind: 'round' as const } };
    const all = [{ ledger: start.ledger, record: wholeRun()[0]! }];
    add(roundOf(ledger, { joins: [joinOf(0), joinOf(1)], bytes: [] }));
    add(roundOf(ledger, { leaves: [1] }));
    add(roundOf(ledger, { joins: [joinOf(1)] }));
    add(roundOf(ledger));
    const { members } = summarise([...all, ...seen]);
    const back = members.find(({ id }) => id === joinOf(1).id);
    assert.deepEqual([back?.first, back?.last, back?.rounds, back?.probes], [0, null, 2, 4]);
  });
});
