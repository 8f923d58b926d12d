/**
 * The kernels against what they must not be slower than: copying memory, and the same work in plain JavaScript.
 * Ratios of medians of interleaved runs on one core (and over threads, at the end). `node bench/kernels.ts`
 */
import { addDirection } from '../worker/direction/rademacher.ts';
import type { Contributions } from '../worker/grid/contribution.ts';
import { State } from '../worker/grid/state.ts';

const WEIGHTS = 22_000_640;
const RUNS = 31;
const ROWS = 64;

const state = new State([{ name: 'w', shape: [WEIGHTS], exponent: -20 }], { scratchBytes: 4 * WEIGHTS + 64 });
const weights = state.view(0);
const copy = new Float32Array(state.memory.buffer, state.scratch(4 * WEIGHTS), WEIGHTS);
const seed = Uint32Array.of(1, 2, 3, 4);
const step = Int32Array.of(1000);

function milliseconds(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** Medians of each work's time, run in turns so that all see the same machine. */
function medians<K extends string>(runs: number, works: Record<K, () => void>): Record<K, number> {
  const names = Object.keys(works) as K[];
  const times = new Map<K, number[]>(names.map((name) => [name, []]));
  for (let run = 0; run < runs + 2; run++)
    for (const name of names) {
      const time = milliseconds(works[name]);
      // The first two runs touch the memory and compile.
      if (run >= 2) times.get(name)!.push(time);
    }
  const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1]!;
  return Object.fromEntries(names.map((name) => [name, median(times.get(name)!)])) as Record<K, number>;
}

function contributions(rows: number, factor: number): Contributions {
  return {
    count: rows,
    tensors: [0],
    seeds: Uint32Array.from({ length: 4 * rows }, (_, i) => i),
    coefficients: Int32Array.from({ length: rows }, (_, i) => factor * (i + 1)),
  };
}

function print(what: string, value: number, unit: string, bar?: number): void {
  const against = bar === undefined ? '' : `   bar ${bar}  ${value >= bar ? 'met' : 'MISSED'}`;
  console.log(`${what.padEnd(58)}${value.toFixed(2).padStart(8)} ${unit}${against}`);
}

const giga = (operations: number, ms: number): number => operations / ms / 1e6;

console.log(`${WEIGHTS} weights of 4 bytes, medians of ${RUNS} interleaved runs\n`);
let sign = 1;
const one = medians(RUNS, {
  perturb: () =>
    state.perturb(
      [0],
      seed,
      step.map((n) => n * (sign = -sign)),
    ),
  copy: () => copy.set(weights),
});
if (state.perturbation) state.unperturb([0], seed, state.perturbation.coefficients);
print('perturb in place / copying the same bytes, speed', one.copy / one.perturb, 'x', 0.8);
print('perturb in place', giga(WEIGHTS, one.perturb), 'G weights/s');
print('copy', giga(4 * WEIGHTS, one.copy), 'GB/s');

const part = 1 << 20;
const small = new State([{ name: 'w', shape: [part], exponent: -20 }]);
const plain = new Float32Array(part);
const add = contributions(ROWS, 1);
const undo = contributions(ROWS, -1);
const fused = medians(RUNS, {
  apply: () => {
    small.add(add);
    small.add(undo);
  },
  merge: () => {
    small.mergePool(add);
    small.mergePool(undo);
  },
  plain: () => addDirection(plain, 0, seed, 1),
});
print(
  `fused apply of ${ROWS} contributions, one core`,
  giga(2 * ROWS * part, fused.apply),
  'G sign-additions/s',
  2,
);
print(`merge of a pool of ${ROWS} seeds, one core`, giga(2 * ROWS * part, fused.merge), 'G sign-additions/s');
print('the plain TypeScript reference', giga(part, fused.plain), 'G sign-additions/s');
print('WebAssembly / the plain reference, speed', (2 * ROWS * fused.plain) / fused.apply, 'x');

const digest = medians(5, { digest: () => state.digest() });
print('SHA-256 of the state', giga(4 * WEIGHTS, digest.digest), 'GB/s');

const two = new State([{ name: 'w', shape: [part], exponent: -20 }], { threads: 2, worthThreads: 0 });
two.add(add);
while (two.threads < 2) await new Promise((resolve) => setTimeout(resolve, 10));
const threads = medians(RUNS, { one: () => small.add(add), two: () => two.add(add) });
print('fused apply, two threads / one, speed', threads.one / threads.two, 'x');
await two.close();
