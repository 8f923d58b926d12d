import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { roundToGrid } from '../../worker/grid/quantum.ts';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import type { TensorStore } from '../../worker/grid/store.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import { Replica } from '../../worker/replica/replica.ts';
import { type Choices, randomRun, smallJob, smallStages, TENSORS } from './run.ts';

function startValues(store: TensorStore): void {
  store.tensors.forEach((tensor, index) => {
    const values = Float32Array.from({ length: tensor.size }, (_, i) =>
      tensor.name === 'm.weight' ? Math.sin(i) : 0,
    );
    store.set(index, roundToGrid(values, store.exponent(index)));
  });
}

function fresh(choices: Choices): Replica {
  const store = new ReferenceStore(TENSORS);
  startValues(store);
  const start = store.snapshot();
  return new Replica(store, smallStages(choices), () => store.restore(start));
}

const anyChoices: fc.Arbitrary<Choices> = fc.record({
  rounds: fc.integer({ min: 2, max: 12 }),
  epochs: fc.integer({ min: 1, max: 3 }),
  // From steps of a few quanta to ones that make the grid coarsen.
  radius: fc.constantFrom(1e-4, 1e-2, 3),
  rule: fc.record({
    type: fc.constantFrom('sgd', 'normalized'),
    momentum: fc.constantFrom(0, 0, 0.9),
    weighting: fc.constantFrom('probes', 'workers', 'examples'),
  }),
  method: fc.record({
    seedPool: fc.constantFrom(0, 0, 16),
    seedDraw: fc.constantFrom('uniform', 'differentiated'),
    codec: fc.constantFrom('log8', 'sign1'),
  }),
});

test('two replicas that apply the same records are equal after every one of them', () => {
  fc.assert(
    fc.property(anyChoices, fc.integer(), (choices, seed) => {
      const [a, b] = [fresh(choices), fresh(choices)];
      for (const { record, body } of randomRun(smallJob(choices), seed)) {
        a.commit(record, body);
        b.commit(record, body);
        assert.equal(a.digest(), b.digest());
      }
      if (choices.method.codec === 'log8') assert.notEqual(a.digest(), fresh(choices).digest());
    }),
    { numRuns: 60 },
  );
});

test('going back to any earlier record and on again gives the same states and seeds as never having left', () => {
  fc.assert(
    fc.property(
      anyChoices,
      fc.integer(),
      fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
      (choices, seed, points) => {
        const run = randomRun(smallJob(choices), seed);
        const straight = fresh(choices);
        const digests = [straight.digest()];
        const seeds: Uint32Array[] = [];
        for (const { record, body } of run) {
          straight.commit(record, body);
          digests.push(straight.digest());
          seeds.push(straight.seeds(1, 3));
        }
        const replica = fresh(choices);
        for (const { record, body } of run) replica.commit(record, body);
        for (const point of points) {
          const to = point % (run.length + 1);
          replica.rewind(to);
          assert.equal(replica.records, to);
          assert.equal(replica.digest(), digests[to]);
          if (to > 0) assert.deepEqual(replica.seeds(1, 3), seeds[to - 1]);
          for (const { record, body } of run.slice(to)) replica.commit(record, body);
          assert.equal(replica.digest(), digests.at(-1));
        }
      },
    ),
    { numRuns: 60 },
  );
});

/** W + C V of the small job's one matrix. */
function effectiveWeight(store: TensorStore): Float64Array {
  const { rank, inputs, right } = smallStages({ rounds: 4, epochs: 1 })[1]!.merges[0]!;
  assert.ok(typeof right === 'function');
  const { values, exponent } = right(0);
  const c = store.view(2);
  return Float64Array.from(store.view(1), (w, i) => {
    const [row, column] = [Math.floor(i / inputs), i % inputs];
    let sum = w;
    for (let r = 0; r < rank; r++) sum += c[row * rank + r]! * values[r * inputs + column]! * 2 ** exponent;
    return sum;
  });
}

test('catching up with many records at once gives the state of applying them one by one', () => {
  fc.assert(
    fc.property(anyChoices, fc.integer(), fc.nat(), (choices, seed, cut) => {
      const run = randomRun(smallJob(choices), seed);
      const straight = fresh(choices);
      for (const { record, body } of run) straight.commit(record, body);
      const caughtUp = fresh(choices);
      const at = cut % run.length;
      caughtUp.commitAll(run.slice(0, at));
      caughtUp.commitAll(run.slice(at));
      assert.equal(caughtUp.digest(), straight.digest());
      caughtUp.rewind(at);
      caughtUp.commitAll(run.slice(at));
      assert.equal(caughtUp.digest(), straight.digest());
    }),
    { numRuns: 100 },
  );
});

test('a merge moves C V into W and leaves the sum within half a quantum', () => {
  const choices: Choices = { rounds: 4, epochs: 1, radius: 0.02, rule: {}, method: {} };
  const merging = fresh(choices);
  const [head, subspace] = smallStages({ rounds: 4, epochs: 1 });
  const plain = new Replica(fresh(choices).store, [head!, { ...subspace!, merges: [] }], () => undefined);
  for (const { record, body } of randomRun(smallJob(choices), 3)) {
    merging.commit(record, body);
    plain.commit(record, body);
  }
  assert.ok(plain.store.view(2).some((x) => x !== 0));
  assert.ok(merging.store.view(2).every((x) => x === 0));
  const merged = effectiveWeight(merging.store);
  const quantum = 2 ** merging.store.exponent(1);
  effectiveWeight(plain.store).forEach((sum, i) => {
    assert.ok(Math.abs(sum - merged[i]!) <= quantum / 2);
  });
});

test('what a merge adds to W does not go on moving C, which stands for other rows from then on; a head does', () => {
  const choices: Choices = { rounds: 4, epochs: 2, radius: 0.02, rule: { momentum: 0.9 }, method: {} };
  const replica = fresh(choices);
  const run = randomRun(smallJob(choices), 3);
  /** Whether head and C move in a round of the second stage in which nobody measured anything. */
  const coasts = (round: number) => {
    for (const { record, body, ledger } of run.slice(replica.records))
      if (ledger.round <= round) replica.commit(record, body);
    const { ledger, store } = replica;
    const before = [0, 2].map((index) => store.view(index).slice());
    const { record } = run[replica.records]!;
    assert.ok(record.kind === 'round');
    const idle = { ...record, bytes: record.bytes.map(() => new Uint8Array(1)) };
    replica.commit(idle, encodeBody(idle, ledger));
    const moved = [0, 2].map((index, i) => Buffer.compare(bits(store.view(index)), bits(before[i]!)) !== 0);
    replica.rewind(replica.records - 1);
    return moved;
  };
  assert.deepEqual(coasts(5), [true, true]);
  assert.deepEqual(coasts(6), [true, false]);
});

function bits({ buffer, byteOffset, byteLength }: Float32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
