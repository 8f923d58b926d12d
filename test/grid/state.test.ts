import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addDirection } from '../../worker/direction/rademacher.ts';
import type { TensorSpec } from '../../worker/grid/layout.ts';
import { LIMIT_QUANTA } from '../../worker/grid/quantum.ts';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import { State } from '../../worker/grid/state.ts';
import { contributions, reorder, seeds, specs, startValues } from './arbitrary.ts';

function pair(
  list: readonly TensorSpec[],
  start: number,
  limit?: number,
): { state: State; reference: ReferenceStore } {
  const reference = new ReferenceStore(list);
  const state = new State(list, { scratchBytes: 1 << 16 });
  for (const t of reference.tensors) {
    const values = startValues(t.size, t.exponent, start + t.index, limit);
    reference.set(t.index, values);
    state.set(t.index, values);
  }
  return { state, reference };
}

const inputs = specs.chain((list) =>
  fc.record({
    list: fc.constant(list),
    start: fc.nat(),
    c: contributions(list.length),
    seed: seeds,
    radius: fc.array(fc.integer({ min: -4096, max: 4096 }), {
      minLength: list.length,
      maxLength: list.length,
    }),
  }),
);
const runs = { numRuns: 40 };

test('the kernels add contributions exactly as the reference does', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, c }) => {
      const { state, reference } = pair(list, start);
      assert.deepEqual(state.add(c), reference.add(c));
      assert.deepEqual(state.tensorDigests(), reference.tensorDigests());
    }),
    runs,
  );
});

test('a perturbation is the reference direction, and taking it back is lossless', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, seed, radius }) => {
      const { state, reference } = pair(list, start);
      const tensors = list.map((_, i) => i);
      const coefficients = Int32Array.from(radius);
      const digest = state.digest();
      state.perturb(tensors, seed, coefficients);
      for (const i of tensors) {
        const expected = reference.view(i).slice();
        addDirection(expected, i, seed, radius[i]! * reference.quantum(i));
        assert.deepEqual(Array.from(state.view(i)), Array.from(expected));
      }
      state.perturb(
        tensors,
        seed,
        coefficients.map((n) => -2 * n),
      );
      assert.deepEqual(
        state.perturbation === null ? [] : [...state.perturbation.coefficients],
        radius.filter((n) => n !== 0).map((n) => -n),
      );
      state.unperturb(
        tensors,
        seed,
        coefficients.map((n) => -n),
      );
      assert.equal(state.perturbation, null);
      assert.equal(state.digest(), digest);
    }),
    runs,
  );
});

test('one pass takes back a perturbation and adds a round, as two would', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, c, seed, radius }) => {
      const { state, reference } = pair(list, start);
      state.perturb(
        list.map((_, i) => i),
        seed,
        Int32Array.from(radius),
      );
      state.addFused(state.perturbation, c);
      reference.add(c);
      assert.equal(state.digest(), reference.digest());
    }),
    runs,
  );
});

test('a fused round that coarsens gives what it gives on a replica that measured nothing', () => {
  fc.assert(
    fc.property(inputs, fc.integer({ min: 1, max: 3 }), ({ list, start, c, seed, radius }, rounds) => {
      const { state, reference } = pair(list, start, LIMIT_QUANTA);
      const large = { ...c, coefficients: c.coefficients.map((n) => n * 1024) };
      for (let round = 0; round < rounds; round++) {
        state.perturb(
          list.map((_, i) => i),
          seed,
          Int32Array.from(radius),
        );
        assert.deepEqual(state.addFused(state.perturbation, large), reference.add(large));
        assert.equal(state.generation, reference.generation);
        assert.equal(state.digest(), reference.digest());
      }
    }),
    runs,
  );
});

test('any order of contributions gives the same bits, and undo gives back the start', () => {
  const ordered = inputs.chain((input) =>
    fc.record({
      input: fc.constant(input),
      order: fc.shuffledSubarray([...Array(input.c.count).keys()], { minLength: input.c.count }),
      cut: fc.nat(input.c.count),
    }),
  );
  fc.assert(
    fc.property(ordered, ({ input: { list, start, c }, order, cut }) => {
      const { state, reference } = pair(list, start);
      const digest = state.digest();
      state.add(reorder(c, order.slice(0, cut)));
      state.add(reorder(c, order.slice(cut)));
      reference.add(c);
      assert.equal(state.digest(), reference.digest());
      state.undo(c, state.generation);
      assert.equal(state.digest(), digest);
    }),
    runs,
  );
});

test('a merged pool equals its rounds one by one, also where partial sums pass 2**31', () => {
  fc.assert(
    fc.property(inputs, ({ list, start, c }) => {
      const { state, reference } = pair(list, start);
      // Each amount split into a huge part and what takes it back, under the same seed.
      const huge = c.coefficients.map((_, i) => 0x70000000 + i);
      state.mergePool({
        count: 2 * c.count,
        tensors: c.tensors,
        seeds: Uint32Array.from([...c.seeds, ...c.seeds]),
        coefficients: Int32Array.from([...huge, ...c.coefficients.map((n, i) => n - huge[i]!)]),
      });
      for (let row = 0; row < c.count; row++) reference.add(reorder(c, [row]));
      assert.equal(state.digest(), reference.digest());
    }),
    runs,
  );
});

test('a pool whose sum is beyond the grid is refused', () => {
  const state = new State([{ name: 'w', shape: [600], exponent: 0 }]);
  const pool = {
    count: 1,
    tensors: [0],
    seeds: new Uint32Array(4),
    coefficients: Int32Array.of(LIMIT_QUANTA + 1),
  };
  assert.throws(() => state.mergePool(pool), { code: 'INTERNAL' });
});

test('coarsening rounds as the reference does', () => {
  fc.assert(
    fc.property(inputs, fc.integer({ min: 1, max: 30 }), ({ list, start, c }, times) => {
      const { state, reference } = pair(list, start);
      for (let i = 0; i < times; i++) for (const store of [state, reference]) store.coarsen(i % list.length);
      assert.equal(state.digest(), reference.digest());
      assert.deepEqual(state.add(c), reference.add(c));
      assert.equal(state.digest(), reference.digest());
    }),
    runs,
  );
});

test('padding that has moved is not taken for a value', () => {
  const state = new State([{ name: 'w', shape: [1], exponent: 0 }]);
  const c = { count: 1, tensors: [0], seeds: Uint32Array.of(1, 2, 3, 4), coefficients: Int32Array.of(5) };
  state.add(c);
  state.view(0)[0] = 1;
  assert.equal(state.maxAbs(0), 1);
});

test('a perturbed copy is the perturbed tensor, and nothing beside it is written', () => {
  fc.assert(
    fc.property(inputs, fc.nat(2), fc.nat(5), ({ list, start, seed, radius }, which, shift) => {
      const { state, reference } = pair(list, start);
      const index = which % list.length;
      const size = state.tensors[index]!.size;
      const at = state.scratch(4 * size + 64) + 4 * shift;
      const around = new Float32Array(state.memory.buffer, at - 4 * shift, size + 16).fill(7);
      state.writePerturbed(at, index, seed, radius[index]!);
      const expected = reference.view(index).slice();
      addDirection(expected, index, seed, radius[index]! * reference.quantum(index));
      assert.deepEqual(Array.from(around.subarray(shift, shift + size)), Array.from(expected));
      assert.ok([...around.subarray(0, shift), ...around.subarray(shift + size)].every((x) => x === 7));
      assert.equal(state.digest(), reference.digest());
    }),
    runs,
  );
});

test('while a perturbation stands, nothing can be committed, digested, saved or perturbed otherwise', () => {
  const { state } = pair([{ name: 'w', shape: [3, 5], exponent: -4 }], 1);
  const seed = Uint32Array.of(1, 2, 3, 4);
  const c = { count: 1, tensors: [0], seeds: seed, coefficients: Int32Array.of(5) };
  const saved = state.snapshot();
  state.perturb([0], seed, Int32Array.of(9));
  const refused = [
    () => state.digest(),
    () => state.snapshot(),
    () => state.restore(saved),
    () => state.add(c),
    () => state.undo(c, 0),
    () => state.mergePool(c),
    () => state.coarsen(0),
    () => state.settle(0),
    () => state.set(0, new Float32Array(15)),
    () => state.writePerturbed(state.scratch(60), 0, seed, 1),
    () => state.perturb([0], Uint32Array.of(1, 2, 3, 5), Int32Array.of(9)),
    () => state.perturb([0], seed, Int32Array.of(LIMIT_QUANTA)),
    () => state.perturb([0], seed.subarray(1), Int32Array.of(1)),
    () => state.addFused({ tensors: [0], seed, coefficients: Int32Array.of(8) }, c),
  ];
  for (const [i, call] of refused.entries()) {
    assert.throws(call, { code: i === 11 ? 'GRID_RANGE' : 'INTERNAL' }, String(call));
    assert.deepEqual([...state.perturbation!.coefficients], [9]);
  }
});

test('a perturbation at the edge of the exact range comes back without loss', () => {
  const state = new State([{ name: 'w', shape: [513], exponent: 0 }]);
  state.set(0, startValues(513, 0, 3, LIMIT_QUANTA));
  const digest = state.digest();
  const seed = Uint32Array.of(9, 9, 9, 9);
  state.perturb([0], seed, Int32Array.of(LIMIT_QUANTA));
  state.perturb([0], seed, Int32Array.of(-2 * LIMIT_QUANTA));
  state.unperturb([0], seed, Int32Array.of(-LIMIT_QUANTA));
  assert.equal(state.digest(), digest);
});

test('scratch memory is bounded, aligned and can be taken back', () => {
  const state = new State([{ name: 'w', shape: [3], exponent: 0 }], { scratchBytes: 100_000 });
  const first = state.scratch(10);
  assert.equal(first % 64, 0);
  assert.ok(state.scratch(10) >= first + 10);
  assert.throws(() => state.scratch(200_000), { code: 'INTERNAL' });
  state.freeScratch();
  assert.equal(state.scratch(10), first);
  assert.throws(() => state.writePerturbed(state.tensors[0]!.offset, 0, new Uint32Array(4), 1), {
    code: 'INTERNAL',
  });
});

test('a state that 32-bit addresses cannot reach is refused by name', () => {
  assert.throws(() => new State([{ name: 'w', shape: [2 ** 30], exponent: 0 }]), { code: 'STATE_TOO_LARGE' });
});
