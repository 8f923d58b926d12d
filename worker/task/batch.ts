import type { Examples } from './examples.ts';

/** Rows as a graph takes them: row-major, padded at the end to the batch's longest row. */
export interface Batch {
  readonly count: number;
  /** Tokens per row, padding included. */
  readonly tokens: number;
  /** [count, tokens] */
  readonly ids: Int32Array;
  /** [count, tokens], 1: a token, 0: padding. */
  readonly mask: Int32Array;
  /** [count] */
  readonly labels: Int32Array;
}

/**
 * Gathers rows into one padded batch.
 * @param padId the id that fills the end of shorter rows; masked, so any id of the vocabulary does
 */
export function padBatch(examples: Examples, rows: ArrayLike<number>, padId: number): Batch {
  const { ids: all } = examples;
  let tokens = 1;
  for (let i = 0; i < rows.length; i++) tokens = Math.max(tokens, all[rows[i]!]!.length);
  const ids = new Int32Array(rows.length * tokens).fill(padId);
  const mask = new Int32Array(rows.length * tokens);
  const labels = new Int32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const row = all[rows[i]!]!;
    ids.set(row, i * tokens);
    mask.fill(1, i * tokens, i * tokens + row.length);
    labels[i] = examples.labels[rows[i]!]!;
  }
  return { count: rows.length, tokens, ids, mask, labels };
}

/**
 * Cuts rows into chunks of at most `size`, rows of like length together, so that little of a padded chunk is
 * padding. Longest first: the first chunk sizes a session's memory for all. Ties keep their order.
 * @returns positions into `rows`, not row numbers
 */
export function chunksByLength(examples: Examples, rows: ArrayLike<number>, size: number): Int32Array[] {
  const order = Int32Array.from({ length: rows.length }, (_, i) => i);
  const length = (i: number) => examples.ids[rows[i]!]!.length;
  order.sort((a, b) => length(b) - length(a) || a - b);
  // As few chunks as `size` allows, of equal size but for one.
  const count = Math.ceil(rows.length / size);
  return Array.from({ length: count }, (_, c) => {
    return order.slice(Math.floor((c * rows.length) / count), Math.floor(((c + 1) * rows.length) / count));
  });
}
