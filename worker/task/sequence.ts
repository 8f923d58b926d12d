import { OnebyteError } from '../errors.ts';
import type { TextTokenizer } from '../model/tokenizer.ts';
import type { Example } from './examples.ts';
import type { RowPlace } from './template.ts';

/** A stretch of text, and whether its tokens are to be predicted. */
export interface Segment {
  readonly tokens: Int32Array;
  readonly scored: boolean;
}

/** A text that keeps its end where it is too long, special tokens before it included. */
export function cutStart(
  tokenizer: TextTokenizer,
  text: string,
  limit: number,
): { readonly ids: Int32Array; readonly truncated: boolean } {
  const { opening } = tokenizer;
  const all = tokenizer.pieces(text);
  const room = Math.max(1, limit - opening.length);
  const kept = all.subarray(Math.max(0, all.length - room));
  return { ids: Int32Array.of(...opening, ...kept), truncated: kept.length < all.length };
}

/**
 * One example of a causal model from stretches of text: each scored token is predicted from the one before it. What
 * is over the limit is cut at the end.
 * @throws OnebyteError COMPLETION_EMPTY where no token to predict is left
 */
export function sequence(
  tokenizer: TextTokenizer,
  segments: readonly Segment[],
  limit: number,
  place: RowPlace,
): Example {
  const { opening } = tokenizer;
  const whole = [{ tokens: opening, scored: false }, ...segments];
  const length = whole.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const ids = new Int32Array(Math.min(length, limit));
  const at: number[] = [];
  let end = 0;
  for (const { tokens, scored } of whole) {
    const kept = tokens.subarray(0, ids.length - end);
    ids.set(kept, end);
    // The first token of all has nothing before it to be predicted from.
    if (scored) for (let i = Math.max(1, end); i < end + kept.length; i++) at.push(i - 1);
    end += kept.length;
  }
  if (at.length === 0) throw nothingLeft(place, length, limit);
  const predicted = Int32Array.from(at);
  return {
    ids,
    predictions: { at: predicted, tokens: predicted.map((i) => ids[i + 1]!) },
    truncated: length > limit,
  };
}

function nothingLeft(place: RowPlace, length: number, limit: number): OnebyteError {
  const what = length > limit ? `within its first ${limit} tokens` : 'at all';
  return new OnebyteError(
    'COMPLETION_EMPTY',
    `row ${place.row + 1} of source '${place.source}' has no token to learn ${what}`,
    {
      field: length > limit ? 'task.maxTokens' : 'task.completion',
      remedy: 'raise task.maxTokens, shorten the prompt, or leave the row out',
    },
  );
}
