import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  advance,
  currentStage,
  dueEvaluations,
  effective,
  emptyLedger,
  type Ledger,
  MISSED_LIMIT,
  stageOf,
  totalRounds,
} from '../../worker/journal/ledger.ts';
import type { Evaluation, JournalRecord, RoundRecord } from '../../worker/journal/record.ts';
import { DIGEST, genesisOf, jobSpec, joinOf, put, roundOf, started, wholeRun } from './fixture.ts';

const NO_BYTES = new Uint8Array(0);

function refuses(ledger: Ledger, record: JournalRecord, what: RegExp): void {
  const before = structuredClone(ledger);
  assert.throws(
    () => advance(ledger, record, new Uint8Array(1)),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'RECORD_INVALID');
      assert.match(error.message, what);
      return true;
    },
  );
  assert.deepEqual(ledger, before, 'a refused record changes nothing');
}

function validation(slot: number, changes: Partial<Evaluation> = {}): Evaluation {
  return { split: 'validation', slot, count: 10, lossSum: 5, correct: 8, ...changes };
}

const end = { kind: 'end', round: 0, digest: DIGEST, reason: 'rounds' } as const;

describe('the ledger', () => {
  it('reads the job from the genesis and starts at round 0 with nobody in', () => {
    const ledger = started(0);
    assert.equal(ledger.name, 'sentiment');
    assert.deepEqual(ledger.job, jobSpec());
    assert.equal(ledger.round, 0);
    assert.deepEqual(ledger.members, []);
    assert.deepEqual(ledger.roundChain, ledger.chain);
  });

  it('wants the genesis first, once, and nothing after the end', () => {
    refuses(emptyLedger(), { ...end }, /before the genesis/);
    refuses(started(1), genesisOf(), /second genesis/);
    const ended = put(started(1), { ...end, reason: 'cancelled' });
    refuses(ended, roundOf(ended), /after the end/);
  });

  it('refuses a genesis whose job cannot be read, and names the field', () => {
    const bad = (job: string, what: RegExp) => refuses(emptyLedger(), { ...genesisOf(), job }, what);
    bad('{', /not JSON/);
    bad('{"spec":1,"name":"a"}', /canonical/);
    bad('{"name":"a","spec":{}}', /spec\.method is not an object/);
    const { job } = genesisOf();
    bad(job.replace('"max":2', '"max":0'), /probes\.max is not a whole number from 1/);
    bad(job.replace('"rounds":3', '"rounds":-3'), /plan\[0\]\.rounds/);
  });

  it('admits a join with the smallest free slot from the next record on', () => {
    let ledger = started(3);
    assert.deepEqual(
      ledger.members.map(({ slot, joined }) => [slot, joined]),
      [
        [0, 0],
        [1, 0],
        [2, 0],
      ],
    );
    ledger = put(ledger, roundOf(ledger, { leaves: [0, 1] }));
    assert.deepEqual(
      ledger.members.map(({ slot }) => slot),
      [2],
    );
    ledger = put(ledger, roundOf(ledger, { joins: [joinOf(7), joinOf(8), joinOf(9)] }));
    assert.deepEqual(
      ledger.members.map(({ slot, id, joined }) => [slot, id, joined]),
      [
        [0, joinOf(7).id, 2],
        [1, joinOf(8).id, 2],
        [2, joinOf(2).id, 0],
        [3, joinOf(9).id, 2],
      ],
    );
  });

  it('takes a member out that missed its limit of rounds in a row, and only then', () => {
    let ledger = started(2, jobSpec({ rounds: [20] }));
    const without = () => roundOf(ledger, { bytes: [Uint8Array.of(1), NO_BYTES] });
    for (let i = 1; i < MISSED_LIMIT; i++) ledger = put(ledger, without());
    assert.equal(ledger.members[1]!.missed, MISSED_LIMIT - 1);
    ledger = put(ledger, roundOf(ledger));
    assert.equal(ledger.members[1]!.missed, 0);
    for (let i = 0; i < MISSED_LIMIT; i++) {
      assert.equal(ledger.members.length, 2);
      ledger = put(ledger, without());
    }
    assert.deepEqual(
      ledger.members.map(({ slot }) => slot),
      [0],
    );
  });

  it('has the very same members after a round that nobody missed, joined or left', () => {
    const ledger = started(2);
    assert.equal(put(ledger, roundOf(ledger)).members, ledger.members);
    const missed = put(ledger, roundOf(ledger, { bytes: [Uint8Array.of(1), NO_BYTES] }));
    assert.deepEqual(
      put(missed, roundOf(missed)).members.map(({ missed }) => missed),
      [0, 0],
    );
  });

  it('keeps round, seeds and misses through a record that only changes the membership', () => {
    let ledger = started(2);
    ledger = put(ledger, roundOf(ledger, { bytes: [Uint8Array.of(1), NO_BYTES] }));
    const next = put(ledger, roundOf(ledger, { bytes: [NO_BYTES, NO_BYTES], joins: [joinOf(5)] }));
    assert.equal(next.round, 1);
    assert.deepEqual(next.roundChain, ledger.roundChain);
    assert.notDeepEqual(next.chain, ledger.chain);
    assert.deepEqual(
      next.members.map(({ missed }) => missed),
      [0, 1, 0],
    );
    assert.equal(next.totals.rounds, 1);
    refuses(ledger, roundOf(ledger, { bytes: [NO_BYTES, NO_BYTES] }), /without bytes, joins or leaves/);
    refuses(
      ledger,
      roundOf(ledger, { bytes: [NO_BYTES, NO_BYTES], joins: [joinOf(5)], evaluations: [validation(0)] }),
      /evaluations in a record without bytes/,
    );
  });

  it('leaves the seeds alone when a dispute, a checkpoint or an artifact is recorded', () => {
    let ledger = started(2);
    ledger = put(ledger, roundOf(ledger));
    const { roundChain } = ledger;
    const artifact = { name: 'basis', digest: DIGEST, bytes: 3 };
    const dispute = { round: 0, slot: 1, member: joinOf(1).id, proposer: joinOf(0).id, expected: '01' };
    ledger = put(ledger, { kind: 'checkpoint', round: 1, digest: DIGEST, location: 'here' });
    ledger = put(ledger, { kind: 'artifact', artifact, location: 'there' });
    ledger = put(ledger, { kind: 'dispute', reason: 'bytes', ...dispute });
    assert.deepEqual(ledger.roundChain, roundChain);
    assert.equal(ledger.totals.disputes, 1);
    assert.equal(ledger.checkpoint?.location, 'here');
    assert.equal(ledger.artifacts.length, 1);
    refuses(ledger, { kind: 'checkpoint', round: 2, digest: DIGEST, location: '' }, /checkpoint of round 2/);
    refuses(ledger, { kind: 'dispute', reason: 'bytes', ...dispute, round: 1 }, /not committed/);
  });

  it('refuses a round record that cannot follow, and says why', () => {
    const ledger = started(2);
    const bad = (changes: Partial<RoundRecord>, what: RegExp) =>
      refuses(ledger, roundOf(ledger, changes), what);
    bad({ round: 1 }, /round 1 where round 0 is due/);
    bad({ bytes: [NO_BYTES] }, /bytes of 1 members, where 2 are in/);
    bad({ bytes: [NO_BYTES, new Uint8Array(3)] }, /3 bytes for slot 1, at most 2/);
    bad({ leaves: [2] }, /leave of slot 2/);
    bad({ leaves: [1, 0] }, /leaves out of order/);
    bad({ leaves: [1, 1] }, /leaves out of order or twice/);
    bad({ joins: [joinOf(0)] }, /is in already/);
    bad({ joins: [joinOf(5), joinOf(5)] }, /is in already/);
    bad({ joins: [{ ...joinOf(5), id: 'XY' }] }, /16 hex digits/);
    bad({ joins: [{ ...joinOf(5), examples: -1 }] }, /-1 examples/);
    bad({ evaluations: [validation(4)] }, /evaluation of slot 4/);
    bad({ evaluations: [validation(1), validation(0)] }, /evaluations by split and slot out of order/);
    bad({ evaluations: [validation(0), validation(0)] }, /twice/);
    bad({ evaluations: [validation(0, { correct: 11 })] }, /11 correct of 10/);
    bad({ evaluations: [validation(0, { count: 0, correct: 0 })] }, /evaluation of 0 examples/);
    bad({ evaluations: [validation(0, { lossSum: Number.NaN })] }, /not a number/);
  });

  it('counts two forwards a probe with two sides, one and a shared centre with one', () => {
    const bytes = [Uint8Array.of(1, 2), NO_BYTES];
    const after = (sides: 1 | 2) => {
      const ledger = started(2, jobSpec({ sides }));
      return put(ledger, roundOf(ledger, { bytes })).totals;
    };
    assert.equal(after(2).forwards, 4);
    assert.equal(after(1).forwards, 3);
    assert.equal(after(1).exampleForwards, 3 * 16);
    assert.equal(after(1).payloadBytes, 2);
  });

  it('ends by rounds: one final evaluation without bytes, then the end record', () => {
    let ledger = started(2, jobSpec({ rounds: [2] }));
    assert.deepEqual(dueEvaluations(ledger), ['validation', 'test']);
    ledger = put(ledger, roundOf(ledger));
    assert.deepEqual(dueEvaluations(ledger), []);
    refuses(ledger, { ...end, round: 1 }, /end by rounds, not by null/);
    ledger = put(ledger, roundOf(ledger));
    assert.equal(ledger.complete, 'rounds');
    assert.equal(ledger.finished, false);
    assert.deepEqual(dueEvaluations(ledger), ['validation', 'test']);
    refuses(ledger, { ...end, round: 2 }, /before the final evaluation/);
    refuses(ledger, roundOf(ledger, { bytes: [Uint8Array.of(1), NO_BYTES] }), /at most 0 are allowed/);
    ledger = put(ledger, roundOf(ledger, { evaluations: [validation(0), validation(1)] }));
    assert.equal(ledger.finished, true);
    assert.equal(ledger.round, 3);
    assert.equal(ledger.totals.rounds, 2);
    assert.equal(ledger.evaluations.validation?.last.round, 2);
    assert.deepEqual(dueEvaluations(ledger), []);
    refuses(ledger, roundOf(ledger), /after the final evaluation/);
    refuses(ledger, { ...end, round: 3 }, /an end after 3 rounds, after 2/);
    ledger = put(ledger, { ...end, round: 2 });
    assert.equal(ledger.end?.reason, 'rounds');
  });

  it('waits for somebody to join before the final evaluation where everybody left', () => {
    let ledger = started(1, jobSpec({ rounds: [1] }));
    ledger = put(ledger, roundOf(ledger, { leaves: [0] }));
    assert.equal(ledger.complete, 'rounds');
    refuses(ledger, roundOf(ledger), /without bytes, joins or leaves/);
    ledger = put(ledger, roundOf(ledger, { joins: [joinOf(3)] }));
    assert.equal(ledger.finished, false);
    ledger = put(ledger, roundOf(ledger, { evaluations: [validation(0)] }));
    assert.equal(ledger.finished, true);
  });

  it('ends by forwards, and by a target met on all slots together', () => {
    let ledger = started(2, jobSpec({ stop: { forwards: 9 } }));
    ledger = put(ledger, roundOf(ledger));
    assert.equal(ledger.complete, null);
    ledger = put(ledger, roundOf(ledger));
    assert.equal(ledger.complete, 'forwards');

    const aim = (metric: 'accuracy' | 'loss', value: number, evaluations: Evaluation[]) => {
      const before = started(2, jobSpec({ stop: { target: { metric, value } } }));
      return put(before, roundOf(before, { evaluations })).complete;
    };
    const both = [validation(0, { correct: 10 }), validation(1, { correct: 8 })];
    assert.equal(aim('accuracy', 0.9, both), 'target');
    assert.equal(aim('accuracy', 0.91, both), null);
    assert.equal(aim('loss', 0.5, both), 'target');
    assert.equal(aim('loss', 0.49, both), null);
    assert.equal(
      aim(
        'accuracy',
        0.9,
        both.map((e) => ({ ...e, split: 'test' as const })),
      ),
      null,
    );
  });

  it('keeps the first and the last evaluation of each split', () => {
    const records = wholeRun();
    const ledger = records.reduce(put, emptyLedger());
    assert.deepEqual(ledger.evaluations.validation?.first, {
      round: 0,
      count: 192,
      loss: (3 * 32.5) / 192,
      accuracy: 120 / 192,
    });
    assert.equal(ledger.evaluations.validation?.last.round, 5);
    assert.equal(ledger.evaluations.train, null);
  });

  it('averages the loss over rounds that have one', () => {
    let ledger = started(1, jobSpec({ rounds: [9] }));
    ledger = put(ledger, roundOf(ledger, { loss: Number.NaN }));
    assert.ok(Number.isNaN(ledger.loss));
    ledger = put(ledger, roundOf(ledger, { loss: 1 }));
    assert.equal(ledger.loss, 1);
    ledger = put(ledger, roundOf(ledger, { loss: 0.5 }));
    ledger = put(ledger, roundOf(ledger, { loss: Number.NaN }));
    assert.ok(Math.abs(ledger.loss - 0.95) < 1e-12);
  });

  it('never changes a ledger that it advances', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      const before = structuredClone(ledger);
      const next = put(ledger, record);
      assert.deepEqual(ledger, before);
      ledger = next;
    }
  });
});

describe('the plan', () => {
  it('gives each stage its range of rounds and the last stage everything after', () => {
    const job = jobSpec({ rounds: [3, 0, 2] });
    assert.equal(totalRounds(job), 5);
    const where = [0, 2, 3, 4, 5, 99].map((round) => {
      const { index, start, rounds } = stageOf(job, round);
      return [index, start, rounds];
    });
    assert.deepEqual(where, [
      [0, 0, 3],
      [0, 0, 3],
      [2, 3, 2],
      [2, 3, 2],
      [2, 3, 2],
      [2, 3, 2],
    ]);
  });

  it('stays in the stage of the last round when a stop cuts the plan at a stage border', () => {
    const job = jobSpec({ rounds: [3, 2], stop: { rounds: 3 } });
    assert.equal(totalRounds(job), 3);
    assert.equal(stageOf(job, 3).index, 0);
  });

  it('stays in the stage of the last update after an early completion', () => {
    let ledger = started(1, jobSpec({ rounds: [1, 5], stop: { forwards: 1 } }));
    ledger = put(ledger, roundOf(ledger));
    assert.equal(ledger.complete, 'forwards');
    assert.equal(currentStage(ledger).index, 0);
  });

  it('lets a stage change part of the estimator and of the rule', () => {
    const job = jobSpec();
    const { estimator, rule } = effective(job, {
      ...job.method.plan[0]!,
      estimator: { sides: 1 },
      rule: { momentum: 0.5 },
    });
    assert.deepEqual(estimator, { ...job.method.estimator, sides: 1 });
    assert.deepEqual(rule, { ...job.method.rule, momentum: 0.5 });
  });

  it('lets a stage change one bound of the probes and leaves the other as it is', () => {
    const job = jobSpec({ probes: 8 });
    const probesOf = (probes: { min?: number; max?: number }) =>
      effective(job, { ...job.method.plan[0]!, estimator: { probes } }).estimator.probes;
    assert.deepEqual(probesOf({ max: 3 }), { min: 1, max: 3 });
    assert.deepEqual(probesOf({ min: 2 }), { min: 2, max: 8 });
    assert.deepEqual(probesOf({}), { min: 1, max: 8 });
  });

  it('covers every round by exactly one stage', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { minLength: 1, maxLength: 5 }), (rounds) => {
        const job = jobSpec({ rounds });
        for (let round = 0; round < totalRounds(job); round++) {
          const { index, start, rounds: count } = stageOf(job, round);
          assert.ok(start <= round && round < start + count);
          assert.equal(count, rounds[index]);
        }
      }),
    );
  });
});
