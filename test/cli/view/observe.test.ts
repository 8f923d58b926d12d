import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { initial, update } from '../../../cli/view/model.ts';
import { observationsOf, observeAll } from '../../../cli/view/observe.ts';
import { frameAt } from '../../../cli/view/picture.ts';
import { planOf, stageAt } from '../../../cli/view/plan.ts';
import { resultOf } from '../../../cli/view/result.ts';
import {
  advance,
  decodeBody,
  emptyLedger,
  encodeBody,
  type JournalRecord,
  type Ledger,
  stageOf,
} from '../../../worker/journal/index.ts';
import { DIGEST, jobSpec, joinOf, put, roundOf, started, wholeRun } from '../../journal/fixture.ts';

function applied(records: readonly JournalRecord[]) {
  let ledger = emptyLedger();
  return records.map((record) => {
    const body = encodeBody(record, ledger);
    ledger = advance(ledger, decodeBody(body, ledger), body);
    return { ledger, record, body };
  });
}

test('the observations of a whole run tell who joined, left and disputed, and every round once', () => {
  const observed = observeAll(applied(wholeRun()));
  const told = observed.map((seen) => {
    switch (seen.type) {
      case 'round':
        return `round ${seen.round}${seen.final === true ? ' final' : ''}`;
      case 'join':
        return `join ${seen.name}`;
      case 'leave':
        return `leave ${seen.slot} ${seen.why}`;
      case 'dispute':
        return `dispute ${seen.round} of ${seen.slot} by ${seen.proposer}`;
      case 'divergence':
        return `divergence ${seen.round} of ${seen.slot} in ${seen.tensor}`;
      default:
        return seen.type;
    }
  });
  assert.deepEqual(told, [
    'join worker-0',
    'join worker-1',
    'join worker-2',
    'round 0',
    'round 1',
    'join worker-3',
    'dispute 1 of 0 by worker-1',
    'divergence 1 of 3 in head.weight',
    'round 2',
    'leave 1 left',
    'round 3',
    'round 4',
    'round 5 final',
  ]);
});

test('the view and the result count what the ledger counts', () => {
  const entries = applied(wholeRun());
  const { ledger } = entries.at(-1)!;
  const observed = observeAll(entries);
  const plan = planOf(jobSpec());
  const model = observed.reduce(
    (so, seen) => update(so, seen, 0),
    initial({ name: 'x', model: 'y' }, plan, 0),
  );
  assert.equal(model.rounds, ledger.totals.rounds);
  assert.equal(model.payloadBytes, ledger.totals.payloadBytes);
  assert.equal(model.forwards, ledger.totals.forwards);
  assert.equal(model.examples, ledger.totals.exampleForwards);
  assert.deepEqual(
    model.members.filter((row) => row.state === 'in').map((row) => row.slot),
    ledger.members.map((member) => member.slot),
  );
  const result = resultOf(ledger, observed, { wireBytes: 1, journalBytes: 2, files: [] });
  assert.equal(result.workers, 4);
  assert.equal(result.digest, DIGEST);
  assert.equal(result.reason, 'rounds');
  const validation = result.scores.find(
    (score) => score.split === 'validation' && score.group === undefined,
  )!;
  assert.deepEqual(validation.loss, {
    before: ledger.evaluations.validation!.first.loss,
    after: ledger.evaluations.validation!.last.loss,
  });
});

test('a frame can be redrawn from the records, at any round', () => {
  const entries = applied(wholeRun());
  const size = { width: 80, height: 30 };
  assert.match(
    stripVTControlCharacters(frameAt(entries, 2, size).join('\n')),
    /stage 1\/2 {2}head .*round 3 of 5/,
  );
  assert.match(stripVTControlCharacters(frameAt(entries, 99, size).join('\n')), /round 5 of 5 {2}100 %/);
  assert.deepEqual(frameAt([], 0, size), []);
});

test('a member that misses too many rounds is lost, one that says so has left', () => {
  let ledger: Ledger = started(3, jobSpec({ rounds: [20] }));
  const told: string[] = [];
  for (let i = 0; i < 5; i += 1) {
    const bytes = ledger.members.map((member) => new Uint8Array(member.slot === 1 ? 0 : 2).fill(9));
    const record = roundOf(ledger, { bytes, leaves: i === 4 ? [2] : [], joins: i === 4 ? [joinOf(9)] : [] });
    const after = put(ledger, record);
    for (const seen of observationsOf(ledger, after, record)) {
      if (seen.type === 'leave') told.push(`${seen.slot} ${seen.why}`);
      if (seen.type === 'join') told.push(`${seen.name} in slot ${seen.slot}`);
    }
    ledger = after;
  }
  assert.deepEqual(told, ['1 lost', '2 left', 'worker-9 in slot 1']);
});

test('the plan of the views agrees with the journal’s for every round', () => {
  for (const job of [
    jobSpec(),
    jobSpec({ rounds: [3, 2, 7], stop: { rounds: 6 } }),
    jobSpec({ rounds: [4] }),
  ]) {
    const plan = planOf(job);
    for (let round = 0; round < 15; round += 1) {
      const stage = stageOf(job, round);
      assert.equal(stageAt(plan, round), stage.index);
      assert.equal(plan.stages[stage.index]!.first, stage.start);
    }
  }
  assert.equal(planOf(jobSpec({ stop: { rounds: 4 } })).rounds, 4);
});
