import fc from 'fast-check';
import type { Contributions } from '../../worker/grid/contribution.ts';
import type { TensorSpec } from '../../worker/grid/layout.ts';
import { powerOfTwo } from '../../worker/grid/quantum.ts';

const word = fc.nat(0xffffffff);
export const seeds = fc.tuple(word, word, word, word).map((words) => Uint32Array.from(words));

/** One to three tensors; sizes around whole groups of 512 and far from them. */
export const specs: fc.Arbitrary<TensorSpec[]> = fc
  .array(
    fc.record({
      shape: fc.oneof(
        fc.constantFrom([1], [511], [512], [513], [2, 512], [3, 384]),
        fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 400 })),
      ),
      exponent: fc.integer({ min: -40, max: 10 }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((list) => list.map((spec, i) => ({ name: `t${i}`, ...spec })));

export function contributions(tensors: number, largest = 1 << 12, rows = 9): fc.Arbitrary<Contributions> {
  const amount = fc.oneof(fc.integer({ min: -largest, max: largest }), fc.constantFrom(0, 1, -1));
  return fc
    .integer({ min: 0, max: rows })
    .chain((count) =>
      fc.tuple(
        fc.constant(count),
        fc.array(word, { minLength: 4 * count, maxLength: 4 * count }),
        fc.shuffledSubarray([...Array(tensors).keys()], { minLength: 1 }),
        fc.array(amount, { minLength: count * tensors, maxLength: count * tensors }),
      ),
    )
    .map(([count, seedWords, chosen, amounts]) => ({
      count,
      seeds: Uint32Array.from(seedWords),
      tensors: chosen,
      coefficients: Int32Array.from(amounts.slice(0, count * chosen.length)),
    }));
}

/** Values on the grid, up to `limit` quanta, the same for the same `start`. */
export function startValues(size: number, exponent: number, start: number, limit = 2 ** 20): Float32Array {
  let state = start >>> 0;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.round((state / 2 ** 31 - 1) * limit) * powerOfTwo(exponent) + 0;
  });
}

/** The rows of `c` in another order. */
export function reorder(c: Contributions, order: readonly number[]): Contributions {
  const columns = c.tensors.length;
  return {
    count: order.length,
    tensors: c.tensors,
    seeds: Uint32Array.from(order.flatMap((row) => [...c.seeds.subarray(4 * row, 4 * row + 4)])),
    coefficients: Int32Array.from(
      order.flatMap((row) => [...c.coefficients.subarray(columns * row, columns * (row + 1))]),
    ),
  };
}
