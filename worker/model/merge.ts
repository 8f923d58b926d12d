import type { TensorView } from './tensor.ts';

/**
 * W + scale * left right, each element summed in doubles and rounded once.
 * @param left [out, rank]: C, or B
 * @param right [rank, in]: V, or A
 * @returns a new tensor [out, in]
 */
export function mergeLowRank(weight: TensorView, left: TensorView, right: TensorView, scale = 1): TensorView {
  const [out = 0, width = 0] = weight.dims;
  const rank = right.dims[0] ?? 0;
  const data = new Float32Array(out * width);
  // Once: a weight that is left in a file is read each time.
  const [base, factors, rows] = [weight.data, left.data, right.data];
  const row = new Float64Array(width);
  for (let o = 0; o < out; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = factors[o * rank + r]!;
      if (factor === 0) continue;
      for (let i = 0, at = r * width; i < width; i++, at++) row[i]! += factor * rows[at]!;
    }
    for (let i = 0, at = o * width; i < width; i++, at++) data[at] = base[at]! + scale * row[i]!;
  }
  return { dims: weight.dims, data };
}
