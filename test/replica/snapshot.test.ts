import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OnebyteError } from '../../worker/errors.ts';
import { roundToGrid } from '../../worker/grid/quantum.ts';
import { State } from '../../worker/grid/state.ts';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import { ledgerText, readLedger } from '../../worker/replica/ledger-text.ts';
import { Replica } from '../../worker/replica/replica.ts';
import { type Choices, randomRun, smallJob, smallStages, TENSORS } from './run.ts';

function fresh(choices: Choices): Replica {
  const store = new State(TENSORS);
  const reset = () =>
    store.tensors.forEach(({ name, size, exponent }, index) => {
      const values = Float32Array.from({ length: size }, (_, i) => (name === 'm.weight' ? Math.sin(i) : 0));
      store.start(index, roundToGrid(values, exponent));
    });
  reset();
  return new Replica(store, smallStages(choices), reset);
}

const anyChoices: fc.Arbitrary<Choices> = fc.record({
  rounds: fc.integer({ min: 2, max: 12 }),
  epochs: fc.integer({ min: 1, max: 3 }),
  radius: fc.constantFrom(1e-4, 1e-2, 3),
  rule: fc.record({
    type: fc.constantFrom('sgd', 'normalized'),
    momentum: fc.constantFrom(0, 0.9),
    weighting: fc.constantFrom('probes', 'workers', 'examples'),
  }),
  method: fc.record({
    seedPool: fc.constantFrom(0, 16),
    seedDraw: fc.constantFrom('uniform', 'differentiated'),
    codec: fc.constantFrom('log8', 'sign1'),
  }),
});

function runOf(choices: Choices, seed: number) {
  const run = randomRun(smallJob(choices), seed);
  return { run, genesis: run[0]!.record as GenesisRecord };
}

test('a replica that begins from a snapshot goes on like the one that it is of, in state, ledger and seeds', () => {
  fc.assert(
    fc.property(anyChoices, fc.integer(), fc.nat(), (choices, seed, at) => {
      const { run, genesis } = runOf(choices, seed);
      const cut = 1 + (at % (run.length - 1));
      const a = fresh(choices);
      for (const { record, body } of run.slice(0, cut)) a.commit(record, body);
      const bytes = a.snapshot();
      const b = fresh(choices);
      assert.deepEqual(
        b.begin(() => bytes, genesis),
        a.ledger,
      );
      assert.equal(b.records, cut);
      assert.deepEqual(b.snapshot(), bytes);
      for (const { record, body } of run.slice(cut)) {
        a.commit(record, body);
        b.commit(record, body);
        assert.equal(b.digest(), a.digest());
        assert.deepEqual(b.seeds(0, 3), a.seeds(0, 3));
      }
      assert.deepEqual(b.snapshot(), a.snapshot());
    }),
    { numRuns: 60 },
  );
});

test('going back to or behind the snapshot that it began from gives the state there, or the start values', () => {
  fc.assert(
    fc.property(anyChoices, fc.integer(), fc.nat(), fc.nat(), (choices, seed, at, to) => {
      const { run, genesis } = runOf(choices, seed);
      const cut = 1 + (at % (run.length - 1));
      const a = fresh(choices);
      a.commitAll(run.slice(0, cut));
      const bytes = a.snapshot();
      const b = fresh(choices);
      b.begin(() => bytes, genesis);
      b.commitAll(run.slice(cut));
      const target = to % (run.length + 1);
      const reached = b.rewind(target);
      assert.equal(reached, target >= cut ? target : 0);
      assert.equal(b.records, reached);
      const plain = fresh(choices);
      plain.commitAll(run.slice(0, reached));
      assert.equal(b.digest(), plain.digest());
      assert.deepEqual(b.ledger, plain.ledger);
      b.commitAll(run.slice(reached));
      plain.commitAll(run.slice(reached));
      assert.equal(b.digest(), plain.digest());
    }),
    { numRuns: 60 },
  );
});

test('a ledger as text comes back as it was, whatever its numbers', () => {
  fc.assert(
    fc.property(anyChoices, fc.integer(), fc.double(), (choices, seed, loss) => {
      const { run, genesis } = runOf(choices, seed);
      const ledger = { ...run.at(-2)!.ledger, loss };
      assert.deepEqual(readLedger(ledgerText(ledger), genesis), ledger);
    }),
    { numRuns: 30 },
  );
});

test('a snapshot of another run, cut off, or changed anywhere is refused or gives another digest, and leaves a fresh replica', () => {
  const choices: Choices = {
    rounds: 4,
    epochs: 1,
    radius: 1e-2,
    rule: { momentum: 0.9 },
    method: { seedPool: 8 },
  };
  const { run, genesis } = runOf(choices, 1);
  const a = fresh(choices);
  a.commitAll(run.slice(0, 6));
  const bytes = a.snapshot();
  const began = fresh(choices).digest();
  const b = fresh(choices);
  const refused = (changed: Uint8Array, of = genesis): boolean => {
    try {
      b.begin(() => changed, of);
      return false;
    } catch (error) {
      assert.ok(error instanceof OnebyteError && error.code === 'SNAPSHOT_INVALID', String(error));
      assert.equal(b.records, 0);
      assert.equal(b.digest(), began);
      return true;
    }
  };
  assert.ok(refused(bytes, runOf(choices, 2).genesis));
  for (let length = 0; length < bytes.length; length += 7) assert.ok(refused(bytes.subarray(0, length)));
  assert.ok(refused(Uint8Array.of(...bytes, 0)));
  for (let at = 0; at < bytes.length; at += 3) {
    const changed = bytes.slice();
    changed[at]! ^= 1 << (at % 8);
    // Its name is its digest, so that nobody takes it for the right one; reading it must not do harm all the same.
    refused(changed);
  }
});
