// Philox4x32-10 of four consecutive blocks at a time, one block in each 32-bit lane (`../philox.ts` is the reference).

// @ts-ignore: decorator
@inline const M0: u32 = 0xd2511f53;
// @ts-ignore: decorator
@inline const M1: u32 = 0xcd9e8d57;
// @ts-ignore: decorator
@inline const W0: u32 = 0x9e3779b9;
// @ts-ignore: decorator
@inline const W1: u32 = 0xbb67ae85;

/**
 * Writes the four output words (16 bytes each: word k of blocks 4 * group .. 4 * group + 3) to `out`.
 * @param seed address of four words: key, upper half of the counter
 */
// @ts-ignore: decorator
@inline
export function philoxGroup(seed: usize, tensor: u32, group: u32, out: usize): void {
  const m0 = i32x4.splat(M0);
  const m1 = i32x4.splat(M1);
  const w0 = i32x4.splat(W0);
  const w1 = i32x4.splat(W1);
  let k0 = v128.load32_splat(seed, 0);
  let k1 = v128.load32_splat(seed, 4);
  let c0 = i32x4.add(i32x4.splat(group << 2), i32x4(0, 1, 2, 3));
  let c1 = i32x4.splat(tensor);
  let c2 = v128.load32_splat(seed, 8);
  let c3 = v128.load32_splat(seed, 12);
  for (let round = 0; round < 10; round++) {
    const low0 = i64x2.extmul_low_i32x4_u(c0, m0);
    const high0 = i64x2.extmul_high_i32x4_u(c0, m0);
    const low1 = i64x2.extmul_low_i32x4_u(c2, m1);
    const high1 = i64x2.extmul_high_i32x4_u(c2, m1);
    c0 = v128.xor(v128.xor(v128.shuffle<i32>(low1, high1, 1, 3, 5, 7), c1), k0);
    c1 = v128.shuffle<i32>(low1, high1, 0, 2, 4, 6);
    c2 = v128.xor(v128.xor(v128.shuffle<i32>(low0, high0, 1, 3, 5, 7), c3), k1);
    c3 = v128.shuffle<i32>(low0, high0, 0, 2, 4, 6);
    k0 = i32x4.add(k0, w0);
    k1 = i32x4.add(k1, w1);
  }
  v128.store(out, c0, 0);
  v128.store(out, c1, 16);
  v128.store(out, c2, 32);
  v128.store(out, c3, 48);
}
