import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sign } from '../../worker/direction/rademacher.ts';
import type { Contributions } from '../../worker/grid/contribution.ts';
import type { TensorSpec } from '../../worker/grid/layout.ts';
import { LIMIT_QUANTA } from '../../worker/grid/quantum.ts';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import { contributions, reorder, specs, startValues } from './arbitrary.ts';

function filled(list: readonly TensorSpec[], start: number): ReferenceStore {
  const store = new ReferenceStore(list);
  for (const t of store.tensors) store.set(t.index, startValues(t.size, t.exponent, start + t.index));
  return store;
}

const inputs = specs.chain((list) =>
  fc.record({ list: fc.constant(list), start: fc.nat(), c: contributions(list.length) }),
);

const one = (coefficient: number, seed = [1, 2, 3, 4]): Contributions => ({
  count: 1,
  seeds: Uint32Array.from(seed),
  tensors: [0],
  coefficients: Int32Array.of(coefficient),
});

test('a contribution moves every element by its coefficient times its sign', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, c }) => {
      const store = filled(list, start);
      const before = store.tensors.map((t) => store.view(t.index).slice());
      store.add(c);
      c.tensors.forEach((index, column) => {
        const size = store.tensors[index]!.size;
        for (let i = 0; i < size; i += 101) {
          let quanta = before[index]![i]! / store.quantum(index);
          for (let k = 0; k < c.count; k++)
            quanta +=
              c.coefficients[k * c.tensors.length + column]! * sign(c.seeds.subarray(4 * k), index, i);
          assert.equal(store.view(index)[i], quanta * store.quantum(index));
        }
      });
    }),
    { numRuns: 30 },
  );
});

test('any order and any grouping of the same contributions gives the same bits', () => {
  const ordered = inputs.chain((input) =>
    fc.record({
      input: fc.constant(input),
      order: fc.shuffledSubarray([...Array(input.c.count).keys()], { minLength: input.c.count }),
      cut: fc.nat(input.c.count),
    }),
  );
  fc.assert(
    fc.property(ordered, ({ input: { list, start, c }, order, cut }) => {
      const whole = filled(list, start);
      whole.add(c);
      const parts = filled(list, start);
      parts.add(reorder(c, order.slice(0, cut)));
      parts.add(reorder(c, order.slice(cut)));
      assert.equal(parts.digest(), whole.digest());
    }),
    { numRuns: 30 },
  );
});

test('undo gives back the start', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, c }) => {
      const store = filled(list, start);
      const digest = store.digest();
      const generation = store.generation;
      store.add(c);
      store.undo(c, generation);
      assert.equal(store.digest(), digest);
    }),
    { numRuns: 30 },
  );
});

test('values stay exact up to the limit, and the step beyond it coarsens', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [600], exponent: 0 }]);
  store.set(0, new Float32Array(600).fill(1));
  assert.deepEqual(store.add(one(LIMIT_QUANTA - 1)), []);
  assert.equal(store.maxAbs(0), LIMIT_QUANTA);
  assert.equal(store.exponent(0), 0);
  const before = store.view(0).slice();
  assert.deepEqual(store.add(one(1)), [0]);
  assert.equal(store.exponent(0), 1);
  // The coefficient 1 halves to 0 (even); elements halve, halves to even: 2 - 2**23 and 2**23 are even already.
  assert.deepEqual(store.view(0), before);
});

test('coarsening rounds halves to even and never leaves a negative zero', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [7], exponent: -3 }]);
  store.set(
    0,
    Float32Array.of(-3, -1, 0, 1, 2, 3, 5).map((n) => n / 8),
  );
  store.coarsen(0);
  assert.deepEqual(
    [...store.view(0)].map((x) => x * 4),
    [-2, 0, 0, 0, 1, 2, 2],
  );
  assert.ok(store.view(0).every((x) => !Object.is(x, -0)));
  assert.equal(store.exponent(0), -2);
  assert.equal(store.generation, 1);
});

test('a bound that has drifted up is replaced by a look at the tensor before anything is coarsened', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [64], exponent: 0 }]);
  for (let i = 0; i < 20; i++) assert.deepEqual(store.add(one(i % 2 === 0 ? 2 ** 21 : -(2 ** 21))), []);
  assert.equal(store.generation, 0);
  assert.equal(store.maxAbs(0), 0);
});

test('whether a round coarsens depends on the state alone, not on what the replica went through before', () => {
  const history = fc.array(fc.integer({ min: -(2 ** 22), max: 2 ** 22 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(history, fc.nat(11), (amounts, at) => {
      const old = new ReferenceStore([{ name: 'w', shape: [40], exponent: -8 }]);
      let young: ReferenceStore | undefined;
      amounts.forEach((amount, i) => {
        if (i === Math.min(at, amounts.length - 1)) {
          young = new ReferenceStore([{ name: 'w', shape: [40], exponent: -8 }]);
          young.restore(old.snapshot());
        }
        const c = one(amount, [i, 0, 0, 0]);
        const coarsened = old.add(c);
        if (young) assert.deepEqual(young.add(c), coarsened);
      });
      assert.equal(young!.digest(), old.digest());
      assert.equal(young!.generation, old.generation);
    }),
  );
});

test('a round in which a tensor was coarsened cannot be undone', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [64], exponent: 0 }]);
  store.set(0, new Float32Array(64).fill(LIMIT_QUANTA));
  const generation = store.generation;
  store.add(one(2));
  assert.throws(() => store.undo(one(2), generation), { code: 'INTERNAL' });
});

test('a run that diverges ends in an error that says so', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [8], exponent: 90 }]);
  const diverge = () => {
    for (let i = 0; i < 10; i++) store.add(one(2 ** 30));
  };
  assert.throws(diverge, { code: 'GRID_RANGE' });
});

test('settle learns what was written and coarsens what is too large', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [3], exponent: 0 }]);
  store.view(0).set([1, 2 ** 24, -5]);
  assert.equal(store.settle(0), true);
  assert.deepEqual([...store.view(0)], [0, 2 ** 24, -4]);
  assert.equal(store.exponent(0), 1);
  assert.equal(store.settle(0), false);
});

test('digests name the tensor that differs, and cover name, shape, exponent and every element', () => {
  const list = [
    { name: 'a', shape: [2, 3], exponent: -4 },
    { name: 'b', shape: [700], exponent: -4 },
  ];
  const store = filled(list, 1);
  const digests = store.tensorDigests();
  const other = filled(list, 1);
  other.view(1)[699]! += 1 / 16;
  assert.equal(other.tensorDigests()[0], digests[0]);
  assert.notEqual(other.tensorDigests()[1], digests[1]);
  assert.notEqual(other.digest(), store.digest());
  for (const changed of [{ name: 'c' }, { shape: [3, 2] }, { exponent: -5 }]) {
    const renamed = new ReferenceStore([{ ...list[0]!, ...changed }, list[1]!]);
    for (const t of renamed.tensors) renamed.set(t.index, store.view(t.index));
    assert.notEqual(renamed.tensorDigests()[0], digests[0]);
  }
});

test('a snapshot gives back the state, its exponents included', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, c }) => {
      const store = filled(list, start);
      store.coarsen(0);
      store.add(c);
      const copy = new ReferenceStore(list);
      copy.restore(store.snapshot());
      assert.equal(copy.digest(), store.digest());
      assert.equal(copy.generation, store.generation);
    }),
    { numRuns: 20 },
  );
});

test('a broken snapshot is refused and changes nothing', () => {
  const list = [{ name: 'w', shape: [3], exponent: -2 }];
  const store = filled(list, 5);
  const digest = store.digest();
  const good = store.snapshot();
  const broken = [
    good.subarray(1),
    good.map((b, i) => (i === 0 ? b ^ 1 : b)),
    good.map((b, i) => (i === 4 ? b ^ 1 : b)),
    good.map((b, i) => (i === 11 ? 0x7f : b)),
    good.map((b, i) => (i === 12 ? b ^ 1 : b)),
    good.map((b, i) => (i === 15 ? 0x7f : b)),
  ];
  for (const bytes of broken) assert.throws(() => store.restore(bytes), { code: 'SNAPSHOT_INVALID' });
  assert.equal(store.digest(), digest);
});

test('values off the grid and malformed contributions are refused', () => {
  const store = new ReferenceStore([{ name: 'w', shape: [2], exponent: 0 }]);
  for (const bad of [[0.5, 0], [2 ** 23 + 1, 0], [Number.NaN, 0], [1]])
    assert.throws(() => store.set(0, Float32Array.from(bad)), { code: 'INTERNAL' });
  for (const bad of [{ tensors: [1] }, { tensors: [0, 0] }, { count: 2 }, { seeds: new Uint32Array(3) }])
    assert.throws(() => store.add({ ...one(1), ...bad }), { code: 'INTERNAL' });
});
