/** Axes: which numbers to label, and where they lie. Pure. */

export interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

/** Whether a value can be drawn; a loss beyond this says only that the run went astray. */
export function drawable(value: number): boolean {
  return Math.abs(value) <= 1e15;
}

/** Steps of 1, 2 or 5 times a power of ten, about `wanted` of them. */
function stepFor(span: number, wanted: number): number {
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const digit = rough / power;
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

/** A linear axis that covers `low`..`high`; with `snug` it ends at the data, else at a tick. */
export function axis(low: number, high: number, wanted: number, snug = false): Axis {
  if (!Number.isFinite(low) || !Number.isFinite(high) || high < low)
    return { low: 0, high: 1, ticks: [0, 1] };
  // Flat, or as good as flat: some room to both sides, so that the line lies in the middle.
  const flat = high - low <= Math.max(Math.abs(high) * 1e-9, 1e-12);
  const pad = flat ? Math.max(Math.abs(high) * 0.05, 1e-3) : 0;
  const [from, to] = [low - pad, high + pad];
  const step = stepFor(to - from, wanted);
  const first = snug ? Math.ceil(from / step - 1e-9) : Math.floor(from / step + 1e-9);
  const last = snug ? Math.floor(to / step + 1e-9) : Math.ceil(to / step - 1e-9);
  const ticks: number[] = [];
  for (let i = first; i <= last && ticks.length < 50; i += 1) ticks.push(Number((i * step).toPrecision(12)));
  return snug ? { low: from, high: to, ticks } : { low: first * step, high: last * step, ticks };
}

/** The label of a tick, with as many decimals as the ticks need to differ. */
export function tickLabel(value: number, ticks: readonly number[]): string {
  const step = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0)) || 1;
  if (Math.abs(value) >= 1e6) return value.toExponential(1);
  const decimals = Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  return value.toFixed(decimals).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ',');
}

/** The q-quantile of the finite values; NaN without any. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(q * (sorted.length - 1))))]!;
}

export interface Sampled {
  /** The middle of the rounds that it stands for. */
  readonly round: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
}

/**
 * At most `most` points over rounds 0..span - 1: each keeps the mean, the least and the greatest of its rounds, so no
 * spike is lost. Rounds without a value that can be drawn give no point.
 */
export function downsample(
  points: readonly { readonly round: number; readonly value: number }[],
  span: number,
  most: number,
): Sampled[] {
  const size = Math.max(1, Math.ceil(span / most));
  const buckets = new Map<
    number,
    { sum: number; count: number; min: number; max: number; low: number; high: number }
  >();
  for (const { round, value } of points) {
    if (!drawable(value)) continue;
    const key = Math.floor(round / size);
    const was = buckets.get(key);
    buckets.set(key, {
      sum: (was?.sum ?? 0) + value,
      count: (was?.count ?? 0) + 1,
      min: Math.min(was?.min ?? value, value),
      max: Math.max(was?.max ?? value, value),
      low: Math.min(was?.low ?? round, round),
      high: Math.max(was?.high ?? round, round),
    });
  }
  return [...buckets.entries()]
    .sort(([a], [b]) => a - b)
    .map(([, b]) => ({ round: (b.low + b.high) / 2, mean: b.sum / b.count, min: b.min, max: b.max }));
}

/**
 * Centred moving average over `radius` points to each side. At the start, where curves are steep, the reach is the
 * same to both sides; at the end, where they are flat, the past alone decides, so that the line does not jitter.
 */
export function smooth(values: readonly number[], radius: number): number[] {
  return values.map((_, i) => {
    const before = Math.min(radius, i);
    const part = values.slice(i - before, i + Math.min(radius, i, values.length - 1 - i) + 1);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}
