/** Curves, bars and strips out of characters. Every function returns plain text of exactly the asked width. */

/** Bit of the dot in column 0..1, row 0..3 of a Braille cell (U+2800 + bits). */
const DOTS: readonly (readonly [number, number, number, number])[] = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
];
const BLOCKS = '▁▂▃▄▅▆▇█';

export interface Range {
  readonly low: number;
  readonly high: number;
}

/** Beyond this the span of a range would overflow. */
const HUGE = 1e300;

/** The range of the finite values, widened a little where flat; null without any. */
export function rangeOf(values: readonly number[]): Range | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, Math.max(value, -HUGE));
    high = Math.max(high, Math.min(value, HUGE));
  }
  if (low > high) return null;
  if (high - low > Math.abs(high) * 1e-9) return { low, high };
  const half = Math.abs(high) * 0.01 || 0.01;
  return { low: low - half, high: high + half };
}

/**
 * A line through `values` (one per half column: 2 * width of them; NaN breaks the line) in `height` rows of Braille.
 * Neighbouring points are joined by vertical runs, so that a steep curve stays one line.
 */
export function curve(values: readonly number[], width: number, height: number, range: Range): string[] {
  const rows = height * 4;
  const cells = Array.from({ length: height }, () => new Uint8Array(width));
  const row = (value: number): number => {
    const share = (range.high - value) / (range.high - range.low);
    return Math.round(Math.min(1, Math.max(0, share)) * (rows - 1));
  };
  let before: number | null = null;
  for (let x = 0; x < width * 2; x += 1) {
    const value = values[x] ?? Number.NaN;
    if (!Number.isFinite(value)) {
      before = null;
      continue;
    }
    const y = row(value);
    // Half of the way belongs to each of the two columns; drawing it in the newer one is near enough at this size.
    const start = before === null ? y : before < y ? before + 1 : before > y ? before - 1 : y;
    for (let at = Math.min(start, y); at <= Math.max(start, y); at += 1) {
      cells[at >> 2]![x >> 1]! |= DOTS[x & 1]![at & 3]!;
    }
    before = y;
  }
  return cells.map((cell) =>
    Array.from(cell, (bits) => (bits === 0 ? ' ' : String.fromCodePoint(0x2800 + bits))).join(''),
  );
}

/** One row of blocks, one per value; a space where a value is NaN. */
export function sparkline(values: readonly number[]): string {
  const range = rangeOf(values);
  if (range === null) return ' '.repeat(values.length);
  return values
    .map((value) => {
      if (!Number.isFinite(value)) return ' ';
      const share = (value - range.low) / (range.high - range.low);
      return BLOCKS[Math.min(7, Math.max(0, Math.floor(share * 8)))]!;
    })
    .join('');
}

/** The two parts of a progress bar, two steps to a column: what is done, and the rest of the track. */
export function bar(share: number, width: number): { readonly done: string; readonly rest: string } {
  const safe = Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0;
  const halves = Math.floor(safe * width * 2);
  const done = '━'.repeat(halves >> 1) + (halves % 2 === 1 ? '╸' : '');
  return { done, rest: '─'.repeat(Math.max(0, width - done.length)) };
}

/**
 * Who took part, oldest first: height by probes against `most`, a middle dot where a round was missed. Five eighths
 * at most, so that rows of full ones stay apart and light.
 */
export function strip(probes: readonly number[], most: number): string {
  return probes
    .map((n) => {
      if (!(n > 0)) return '·';
      const share = most > 0 ? Math.min(1, n / most) : 1;
      return BLOCKS[Math.max(0, Math.ceil(share * 5) - 1)]!;
    })
    .join('');
}
