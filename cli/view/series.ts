/** A curve over rounds that never outgrows a fixed number of buckets: when full, neighbours merge in pairs. */

export interface Bucket {
  readonly sum: number;
  readonly count: number;
  readonly min: number;
  readonly max: number;
}

/** Bucket i covers rounds i * stride .. (i + 1) * stride - 1; a count of 0 is a gap. */
export interface Series {
  readonly stride: number;
  readonly buckets: readonly Bucket[];
}

const CAPACITY = 512;
const GAP: Bucket = { sum: 0, count: 0, min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };
export const EMPTY: Series = { stride: 1, buckets: [] };

export function merge(a: Bucket, b: Bucket): Bucket {
  return {
    sum: a.sum + b.sum,
    count: a.count + b.count,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

function halve(series: Series): Series {
  const buckets: Bucket[] = [];
  for (let i = 0; i < series.buckets.length; i += 2) {
    buckets.push(merge(series.buckets[i]!, series.buckets[i + 1] ?? GAP));
  }
  return { stride: series.stride * 2, buckets };
}

/** `series` with one more value; a value that is no finite number, or a negative round, changes nothing. */
export function push(series: Series, round: number, value: number): Series {
  if (!Number.isFinite(value) || !Number.isSafeInteger(round) || round < 0) return series;
  let next = series;
  while (Math.floor(round / next.stride) >= CAPACITY) {
    // A far jump in rounds: one step of the loop suffices once nothing is left to merge.
    next = next.buckets.length === 0 ? { stride: next.stride * 2, buckets: [] } : halve(next);
  }
  const index = Math.floor(round / next.stride);
  const buckets = next.buckets.slice();
  while (buckets.length <= index) buckets.push(GAP);
  buckets[index] = merge(buckets[index]!, { sum: value, count: 1, min: value, max: value });
  return { stride: next.stride, buckets };
}

/** Means of the rounds `from`..`to` (exclusive) in `width` equal parts; NaN where a part saw no value. */
export function resample(series: Series, from: number, to: number, width: number): number[] {
  const means: number[] = [];
  const span = Math.max(1, to - from) / width;
  for (let i = 0; i < width; i += 1) {
    const low = Math.floor((from + i * span) / series.stride);
    const high = Math.max(low + 1, Math.ceil((from + (i + 1) * span) / series.stride));
    let whole = GAP;
    for (let j = low; j < high && j < series.buckets.length; j += 1) whole = merge(whole, series.buckets[j]!);
    means.push(whole.count === 0 ? Number.NaN : whole.sum / whole.count);
  }
  return means;
}
