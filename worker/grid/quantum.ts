import { philox, ROUNDING_SPACE } from '../direction/philox.ts';
import { OnebyteError } from '../errors.ts';

/** A 32-bit float holds every whole multiple of a power of two up to this many of them: the range that is exact. */
export const EXACT_QUANTA = 2 ** 24;
/**
 * No committed value goes beyond this many quanta (a tensor that would is coarsened), so a perturbation or an undo of
 * up to as many again is exact too.
 */
export const LIMIT_QUANTA = 2 ** 23;
/** Exponents of quanta: all values, and their halves, stay clear of subnormals and of infinity. */
export const EXPONENT_RANGE = { min: -120, max: 96 } as const;
/** Coefficients saturate here; `add` of such a one coarsens the tensor until it fits. */
const MAX_COEFFICIENT = 2 ** 30;

const WORDS = new Uint32Array(2);
const DOUBLE = new Float64Array(WORDS.buffer);

/** 2 ** exponent, from its bits: Math.pow is not fixed by any standard. */
export function powerOfTwo(exponent: number): number {
  if (!Number.isInteger(exponent) || exponent < -1022 || exponent > 1023)
    throw new RangeError(`no normal double is 2 ** ${exponent}`);
  // Of every coefficient: memory of its own each time was a sixth of a catch-up over a pool.
  WORDS[1] = (exponent + 1023) << 20;
  return DOUBLE[0]!;
}

/** The nearest whole number, halves to even. Exact for |x| <= 2 ** 51; never -0. */
export function roundHalfEven(x: number): number {
  // Adding 1.5 * 2 ** 52 leaves no bits for a fraction, and IEEE 754 rounds the sum half to even.
  return x + 6755399441055744 - 6755399441055744;
}

/**
 * Exponent of the smallest power of two q with scale * headroom < 2**24 q, where scale is the larger of `maxAbs` and
 * `expected`.
 * @param maxAbs largest absolute value of the tensor at its start
 * @param headroom how far it may grow; at least 2 (above headroom / 2 times its start it is coarsened)
 * @param expected the scale that it is expected to reach, for tensors that start at zero
 * @throws RangeError when there is no scale to go by, or it is not finite
 */
export function chooseExponent(maxAbs: number, headroom = 8, expected = 0): number {
  const scale = Math.max(maxAbs, expected) * headroom;
  if (!(scale > 0 && Number.isFinite(scale)) || headroom < 2)
    throw new RangeError(`no quantum for max ${maxAbs}, expected ${expected}, headroom ${headroom}`);
  let exponent: number = EXPONENT_RANGE.min;
  while (!(scale < EXACT_QUANTA * powerOfTwo(exponent))) exponent++;
  if (exponent > EXPONENT_RANGE.max)
    throw new RangeError(`values of ${maxAbs} are too large for 32-bit floats`);
  return exponent;
}

/**
 * The nearest multiples of 2 ** exponent, halves to even; zeros are +0.
 * @throws OnebyteError GRID_RANGE on a value that is not finite or beyond LIMIT_QUANTA quanta
 */
export function roundToGrid(array: ArrayLike<number>, exponent: number): Float32Array {
  const quantum = powerOfTwo(exponent);
  const inverse = powerOfTwo(-exponent);
  const out = new Float32Array(array.length);
  for (let i = 0; i < out.length; i++) {
    const n = roundHalfEven(array[i]! * inverse);
    if (!(Math.abs(n) <= LIMIT_QUANTA)) {
      throw new OnebyteError(
        'GRID_RANGE',
        `value ${array[i]} is outside a grid of quantum 2 ** ${exponent}`,
        {
          remedy: 'check the base model for infinities and NaN',
        },
      );
    }
    out[i] = n * quantum;
  }
  return out;
}

/**
 * Random words for the rounding of one tensor's coefficient in one probe. The counter space is not the directions'.
 * @param seed `directionSeed` of the (round, slot, probe), also where a seed pool gives the direction: a pool's seed
 *   comes back in later rounds, and rounding the same way each time would add up to a bias
 */
export function roundingWords(seed: ArrayLike<number>, tensor: number): Uint32Array {
  return philox(0, (ROUNDING_SPACE | tensor) >>> 0, seed[2]!, seed[3]!, seed[0]!, seed[1]!);
}

/**
 * Rounds `x` stochastically to whole quanta: up with the probability of its fraction, so without bias (to 2**-53).
 * @param x a coefficient in units of the weights
 * @param words at least two random words
 * @returns quanta, saturated at +-2**30
 * @throws OnebyteError INTERNAL when x is NaN
 */
export function roundCoefficient(x: number, exponent: number, words: ArrayLike<number>): number {
  if (Number.isNaN(x)) throw new OnebyteError('INTERNAL', 'an update coefficient is not a number');
  const quanta = x * powerOfTwo(-exponent);
  if (Math.abs(quanta) >= MAX_COEFFICIENT) return quanta < 0 ? -MAX_COEFFICIENT : MAX_COEFFICIENT;
  const floor = Math.floor(quanta);
  const uniform = (words[0]! * 2 ** 21 + (words[1]! >>> 11)) / 2 ** 53;
  return floor + (uniform < quanta - floor ? 1 : 0) + 0;
}
