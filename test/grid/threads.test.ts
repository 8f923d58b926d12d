import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import type { TensorSpec } from '../../worker/grid/layout.ts';
import { ROWS, TENSORS } from '../../worker/grid/memory.ts';
import { LIMIT_QUANTA } from '../../worker/grid/quantum.ts';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import { State } from '../../worker/grid/state.ts';
import { Runner, type Task } from '../../worker/grid/task.ts';
import { contributions, startValues } from './arbitrary.ts';

const SPECS: TensorSpec[] = [
  { name: 'big', shape: [150, 512], exponent: -20 },
  { name: 'small', shape: [7], exponent: -18 },
  { name: 'middle', shape: [90, 333], exponent: -21 },
];
const opened: State[] = [];
after(() => Promise.all(opened.map((state) => state.close())));

function open(threads: number): State {
  const state = new State(SPECS, { threads, worthThreads: 0 });
  opened.push(state);
  return state;
}

/** Threads start in their own time. */
async function started(state: State, threads: number): Promise<void> {
  for (let i = 0; state.threads < threads; i++) {
    assert.ok(i < 3000, `${state.threads} of ${threads} threads have started`);
    await delay(10);
  }
}

test('any number of threads gives the same bits, before and after they have started', async () => {
  const states = [open(1), open(2), open(4)];
  let runs = 0;
  const reference = new ReferenceStore(SPECS);
  await fc.assert(
    fc.asyncProperty(contributions(SPECS.length, 1 << 20, 12), fc.nat(), async (c, start) => {
      for (const t of reference.tensors) {
        const values = startValues(t.size, reference.exponent(t.index), start + t.index, LIMIT_QUANTA / 2);
        for (const store of [...states, reference]) store.set(t.index, values);
      }
      const coarsened = reference.add(c);
      const digest = reference.digest();
      for (const state of states) {
        const seed = Uint32Array.of(start, 2, 3, 4);
        state.perturb([0, 2], seed, Int32Array.of(1000, 2000));
        assert.deepEqual(state.addFused(state.perturbation, c), coarsened);
        assert.equal(state.digest(), digest);
        for (const t of SPECS.keys()) assert.equal(state.maxAbs(t), reference.maxAbs(t));
      }
      if (++runs === 3) await Promise.all([started(states[1]!, 2), started(states[2]!, 4)]);
    }),
    { numRuns: 6 },
  );
  assert.deepEqual(
    states.map((state) => state.threads),
    [1, 2, 4],
  );
});

test('a merge over threads equals one on a single thread', async () => {
  const [one, three] = [open(1), open(3)];
  for (const state of [one, three]) state.perturb([0], new Uint32Array(4), Int32Array.of(1));
  await started(three, 3);
  for (const state of [one, three]) state.unperturb([0], new Uint32Array(4), Int32Array.of(1));
  const count = 40;
  const pool = {
    count,
    tensors: [2, 0],
    seeds: Uint32Array.from({ length: 4 * count }, (_, i) => i * 77),
    coefficients: Int32Array.from({ length: 2 * count }, (_, i) => (i - count) * 31),
  };
  for (const state of [one, three]) state.mergePool(pool);
  assert.equal(three.digest(), one.digest());
});

test('every group of every task falls into exactly one share', () => {
  const memory = new State([{ name: 'w', shape: [64 * 512], exponent: 0 }]).memory;
  const runner = new Runner(memory, 0);
  const view = new Float32Array(memory.buffer, TENSORS, 64 * 512);
  const floats = new Float32Array(memory.buffer, ROWS, 16);
  floats[4] = 1;
  floats[12] = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 2 })), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.integer({ min: 1, max: 9 }),
      (sizes, shares) => {
        view.fill(0);
        let at = 0;
        const tasks = sizes.map(([groups, count]): Task => {
          const task = { operation: 'addRows', to: TENSORS + at * 2048, groups, rows: ROWS, count } as const;
          at += groups;
          return task;
        });
        for (let share = 0; share < shares; share++) runner.run(tasks, share, shares);
        assert.ok(view.subarray(0, at * 512).every((x) => Math.abs(x) === 1));
        assert.ok(view.subarray(at * 512).every((x) => x === 0));
      },
    ),
  );
});

test('a closed state still works, on its own thread', async () => {
  const state = new State(SPECS, { threads: 2 });
  await state.close();
  await state.close();
  const reference = new ReferenceStore(SPECS);
  const c = { count: 3, tensors: [0], seeds: new Uint32Array(12), coefficients: Int32Array.of(1, 2, 3) };
  for (const store of [state, reference]) store.add(c);
  assert.equal(state.digest(), reference.digest());
});

test('threads are started by the first dispatch that is worth it', async () => {
  const state = new State(SPECS, { threads: 2, worthThreads: 301 });
  opened.push(state);
  const seed = new Uint32Array(4);
  // 150 and 59 groups of 512 numbers.
  state.perturb([0, 2], seed, Int32Array.of(1, 1));
  await delay(200);
  assert.equal(state.threads, 1);
  state.unperturb([0, 2], seed, Int32Array.of(1, 1));
  state.add({
    count: 2,
    tensors: [0, 2],
    seeds: new Uint32Array(8),
    coefficients: Int32Array.of(1, 1, 1, 1),
  });
  await started(state, 2);
});

test('a number of threads that makes no sense is refused', () => {
  assert.throws(() => new State(SPECS, { threads: 99 }), { code: 'INTERNAL' });
});
