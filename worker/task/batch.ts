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
  /** Rows (of count * tokens) that predict something: the last token of each text, or what `predictions` say. */
  readonly positions: Int32Array;
  /** Tokens to predict, one for each of `positions`; empty where the examples have none. */
  readonly targets: Int32Array;
  /** [targets, count], 1 where a target is a row's. */
  readonly shares: Float32Array;
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
  const scored = scoredOf(examples, rows, tokens);
  return { count: rows.length, tokens, ids, mask, labels, ...scored };
}

function scoredOf(
  { ids, predictions }: Examples,
  rows: ArrayLike<number>,
  tokens: number,
): Pick<Batch, 'positions' | 'targets' | 'shares'> {
  if (predictions === undefined) {
    const positions = Int32Array.from(rows, (row, i) => i * tokens + ids[row]!.length - 1);
    return { positions, targets: new Int32Array(0), shares: new Float32Array(0) };
  }
  const count = unitsOf({ predictions }, rows);
  const positions = new Int32Array(count);
  const targets = new Int32Array(count);
  const shares = new Float32Array(count * rows.length);
  let at = 0;
  for (let i = 0; i < rows.length; i++) {
    const own = predictions[rows[i]!]!;
    targets.set(own.tokens, at);
    for (const position of own.at) {
      positions[at] = i * tokens + position;
      shares[at * rows.length + i] = 1;
      at++;
    }
  }
  return { positions, targets, shares };
}

/** What the loss of some rows is a sum over: tokens to predict, or the rows themselves. */
export function unitsOf({ predictions }: Pick<Examples, 'predictions'>, rows: ArrayLike<number>): number {
  if (predictions === undefined) return rows.length;
  let count = 0;
  for (let i = 0; i < rows.length; i++) count += predictions[rows[i]!]!.tokens.length;
  return count;
}

/** How much one chunk may hold. */
export interface ChunkLimit {
  readonly rows: number;
  /** Tokens, padding included; no limit where it is left out. A single row may have more. */
  readonly tokens?: number | undefined;
}

/**
 * Cuts rows into chunks of at most `limit.rows`, rows of like length together, so that little of a padded chunk is
 * padding. Longest first: the first chunk sizes a session's memory for all. Ties keep their order.
 * @returns positions into `rows`, not row numbers
 */
export function chunksByLength(examples: Examples, rows: ArrayLike<number>, limit: ChunkLimit): Int32Array[] {
  const order = Int32Array.from({ length: rows.length }, (_, i) => i);
  const length = (i: number) => examples.ids[rows[i]!]!.length;
  order.sort((a, b) => length(b) - length(a) || a - b);
  if (limit.tokens !== undefined) return chunksByTokens(order, length, { ...limit, tokens: limit.tokens });
  // As few chunks as the limit allows, of equal size but for one.
  const count = Math.ceil(rows.length / limit.rows);
  return Array.from({ length: count }, (_, c) => {
    return order.slice(Math.floor((c * rows.length) / count), Math.floor(((c + 1) * rows.length) / count));
  });
}

function chunksByTokens(
  order: Int32Array,
  length: (i: number) => number,
  limit: { readonly rows: number; readonly tokens: number },
): Int32Array[] {
  const chunks: Int32Array[] = [];
  for (let from = 0; from < order.length; ) {
    const fitting = Math.floor(limit.tokens / Math.max(1, length(order[from]!)));
    const to = Math.min(order.length, from + Math.max(1, Math.min(limit.rows, fitting)));
    chunks.push(order.slice(from, to));
    from = to;
  }
  return chunks;
}
