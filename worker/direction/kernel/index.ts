// Kernels over groups of 512 elements (2 KiB), on memory that other threads share; each call has its own `stage`.
//
// A row is 32 bytes: a seed (4 words), then the coefficient (a float that is already a multiple of the quantum, or a
// whole number for the integer kernels), then padding. A tensor's rows are applied group by group, so that a group is
// read from memory once however many rows there are. The sign bits of four neighbouring elements are the top bits of
// the four lanes; doubling the lanes brings up the next four.
import { philoxGroup } from './philox';

// @ts-ignore: decorator
@inline const GROUP_BYTES: usize = 2048;
// @ts-ignore: decorator
@inline const ROW_BYTES: usize = 32;
// @ts-ignore: decorator
@inline const COEFFICIENT: usize = 16;

// @ts-ignore: decorator
@inline
function signed(word: v128, amount: v128): v128 {
  return v128.xor(v128.and(word, i32x4.splat(0x80000000)), amount);
}

// @ts-ignore: decorator
@inline
function double(word: v128): v128 {
  return i32x4.add(word, word);
}

/** to = from + c z, for one group and one row. */
function addOne(to: usize, from: usize, row: usize, tensor: u32, group: u32, stage: usize): void {
  philoxGroup(row, tensor, group, stage);
  const a = v128.load32_splat(row, COEFFICIENT);
  for (let k: usize = 0; k < 64; k += 16) {
    let word = v128.load(stage + k);
    for (let end = to + 512; to < end; to += 64, from += 64) {
      v128.store(to, f32x4.add(v128.load(from), signed(word, a)));
      word = double(word);
      v128.store(to, f32x4.add(v128.load(from, 16), signed(word, a)), 16);
      word = double(word);
      v128.store(to, f32x4.add(v128.load(from, 32), signed(word, a)), 32);
      word = double(word);
      v128.store(to, f32x4.add(v128.load(from, 48), signed(word, a)), 48);
      word = double(word);
    }
  }
}

/** to = from + the sum of four rows, for one group. */
function addFour(to: usize, from: usize, row: usize, tensor: u32, group: u32, stage: usize): void {
  for (let i: usize = 0; i < 4; i++) philoxGroup(row + i * ROW_BYTES, tensor, group, stage + (i << 6));
  const a = v128.load32_splat(row, COEFFICIENT);
  const b = v128.load32_splat(row, COEFFICIENT + ROW_BYTES);
  const c = v128.load32_splat(row, COEFFICIENT + 2 * ROW_BYTES);
  const d = v128.load32_splat(row, COEFFICIENT + 3 * ROW_BYTES);
  for (let k: usize = 0; k < 64; k += 16) {
    let wordA = v128.load(stage + k);
    let wordB = v128.load(stage + k, 64);
    let wordC = v128.load(stage + k, 128);
    let wordD = v128.load(stage + k, 192);
    for (let end = to + 512; to < end; to += 32, from += 32) {
      let x = f32x4.add(v128.load(from), f32x4.add(signed(wordA, a), signed(wordB, b)));
      v128.store(to, f32x4.add(x, f32x4.add(signed(wordC, c), signed(wordD, d))));
      wordA = double(wordA);
      wordB = double(wordB);
      wordC = double(wordC);
      wordD = double(wordD);
      x = f32x4.add(v128.load(from, 16), f32x4.add(signed(wordA, a), signed(wordB, b)));
      v128.store(to, f32x4.add(x, f32x4.add(signed(wordC, c), signed(wordD, d))), 16);
      wordA = double(wordA);
      wordB = double(wordB);
      wordC = double(wordC);
      wordD = double(wordD);
    }
  }
}

/**
 * to = from + the sum of `count` rows (at least one), over groups first <= group < last.
 * `to` and `from` are the tensor's start, the same or disjoint; `stage` is 256 bytes that nobody else uses.
 */
export function addRows(
  to: usize, from: usize, tensor: u32, first: u32, last: u32, rows: usize, count: u32, stage: usize,
): void {
  for (let group = first; group < last; group++) {
    const target = to + <usize>group * GROUP_BYTES;
    let source = from + <usize>group * GROUP_BYTES;
    let row = rows;
    let left = count;
    for (; left >= 4; left -= 4, row += 4 * ROW_BYTES) {
      addFour(target, source, row, tensor, group, stage);
      source = target;
    }
    for (; left > 0; left--, row += ROW_BYTES) {
      addOne(target, source, row, tensor, group, stage);
      source = target;
    }
  }
}

/** Replaces elements by their number of quanta, as 32-bit integers. `inverse` is 1 / quantum. */
export function toIntegers(at: usize, first: u32, last: u32, inverse: f32): void {
  const factor = f32x4.splat(inverse);
  const end = at + <usize>last * GROUP_BYTES;
  for (let p = at + <usize>first * GROUP_BYTES; p < end; p += 16)
    v128.store(p, i32x4.trunc_sat_f32x4_s(f32x4.mul(v128.load(p), factor)));
}

/** The inverse of `toIntegers`, exact up to 2**24. */
export function toFloats(at: usize, first: u32, last: u32, quantum: f32): void {
  const factor = f32x4.splat(quantum);
  const end = at + <usize>last * GROUP_BYTES;
  for (let p = at + <usize>first * GROUP_BYTES; p < end; p += 16)
    v128.store(p, f32x4.mul(f32x4.convert_i32x4_s(v128.load(p)), factor));
}

/**
 * Adds rows with whole coefficients to elements that are integers, modulo 2**32: right in the end whatever the
 * partial sums. c z = c - (z < 0 ? 2 c : 0), and the sum of all c is added once.
 */
export function addIntegerRows(
  at: usize, tensor: u32, first: u32, last: u32, rows: usize, count: u32, stage: usize,
): void {
  let total: u32 = 0;
  for (let i: u32 = 0; i < count; i++) total += load<u32>(rows + i * ROW_BYTES, COEFFICIENT);
  const sum = i32x4.splat(total);
  for (let group = first; group < last; group++) {
    const target = at + <usize>group * GROUP_BYTES;
    for (let p = target; p < target + GROUP_BYTES; p += 16) v128.store(p, i32x4.add(v128.load(p), sum));
    for (let i: u32 = 0; i < count; i++) {
      const row = rows + i * ROW_BYTES;
      philoxGroup(row, tensor, group, stage);
      const twice = double(v128.load32_splat(row, COEFFICIENT));
      let p = target;
      for (let k: usize = 0; k < 64; k += 16) {
        let word = v128.load(stage + k);
        for (let end = p + 512; p < end; p += 16) {
          v128.store(p, i32x4.sub(v128.load(p), v128.and(i32x4.shr_s(word, 31), twice)));
          word = double(word);
        }
      }
    }
  }
}

/** Largest absolute value. Padding counts. */
export function largest(at: usize, first: u32, last: u32): f32 {
  let a = f32x4.splat(0);
  let b = a;
  const end = at + <usize>last * GROUP_BYTES;
  for (let p = at + <usize>first * GROUP_BYTES; p < end; p += 32) {
    a = f32x4.pmax(a, f32x4.abs(v128.load(p)));
    b = f32x4.pmax(b, f32x4.abs(v128.load(p, 16)));
  }
  a = f32x4.pmax(a, b);
  return max(
    max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1)),
    max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)),
  );
}

/** Rounds to multiples of `quantum`, halves to even, zeros to +0. `inverse` is 1 / quantum. */
export function roundTo(at: usize, first: u32, last: u32, inverse: f32, quantum: f32): void {
  const down = f32x4.splat(inverse);
  const up = f32x4.splat(quantum);
  const zero = f32x4.splat(0);
  const end = at + <usize>last * GROUP_BYTES;
  for (let p = at + <usize>first * GROUP_BYTES; p < end; p += 16) {
    const whole = f32x4.nearest(f32x4.mul(v128.load(p), down));
    v128.store(p, f32x4.mul(f32x4.add(whole, zero), up));
  }
}
