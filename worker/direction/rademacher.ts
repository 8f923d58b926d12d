import { philox } from './philox.ts';

/**
 * Dense directions of +1 and -1, the plain reference. Elements come in groups of 512, the bits of four consecutive
 * Philox blocks: within a group, element (k * 32 + s) * 4 + lane has its sign in bit 31 - s of word k of block
 * 4 * group + lane; a set bit means -1. (So one SIMD register holds the same word of the four blocks, and doubling it
 * brings up the signs of four neighbouring elements at a time.)
 */
const GROUP_BITS = 512;

/** Philox block of element `i`; its counter is (block, tensor, seed[2], seed[3]), its key (seed[0], seed[1]). */
export function directionBlock(
  seed: ArrayLike<number>,
  tensor: number,
  block: number,
  out?: Uint32Array,
): Uint32Array {
  return philox(block, tensor, seed[2]!, seed[3]!, seed[0]!, seed[1]!, out);
}

/** Element `i` of the direction that `seed` (four words) gives to tensor number `tensor`. */
export function sign(seed: ArrayLike<number>, tensor: number, i: number): 1 | -1 {
  const j = i % GROUP_BITS;
  const block = Math.floor(i / GROUP_BITS) * 4 + (j & 3);
  const word = directionBlock(seed, tensor, block)[j >>> 7]!;
  return word << ((j >>> 2) & 31) < 0 ? -1 : 1;
}

/**
 * view += amount * z. Exact in 32-bit floats when view and amount are multiples of one quantum and stay within 2**24
 * of them.
 * @param view the tensor's elements (any number of them, from its first)
 * @param amount coefficient times quantum
 */
export function addDirection(
  view: Float32Array | Float64Array,
  tensor: number,
  seed: ArrayLike<number>,
  amount: number,
): void {
  const lanes = [0, 1, 2, 3].map(() => new Uint32Array(4));
  for (let start = 0; start < view.length; start += GROUP_BITS) {
    lanes.forEach((out, lane) => {
      directionBlock(seed, tensor, (start / GROUP_BITS) * 4 + lane, out);
    });
    const end = Math.min(GROUP_BITS, view.length - start);
    for (let j = 0; j < end; j++) {
      const negative = lanes[j & 3]![j >>> 7]! << ((j >>> 2) & 31) < 0;
      view[start + j]! += negative ? -amount : amount;
    }
  }
}
