/** What a model is worth on a split, from what it made of each row. Pure. */
import type { TaskSpec } from '../journal/job.ts';
import { unitsOf } from './batch.ts';
import type { Examples } from './examples.ts';

/** What a model made of some rows; all arrays in the order of `rows`. */
export interface Outcomes {
  /** Row numbers. */
  readonly rows: Int32Array;
  /** Cross-entropy in nats; of tokens their sum. */
  readonly loss: Float32Array;
  /** 1 where the best guess is right, else 0; of tokens how many are. */
  readonly correct: Float32Array;
  /** The label of the best guess; absent where tokens are predicted. */
  readonly best?: Int32Array;
}

/** Metrics over all rows; one that has no value, such as F1 where no row has a label that counts, is null. */
export interface Metrics {
  readonly rows: number;
  /** Mean cross-entropy in nats, over rows, or over the tokens that were to be predicted. */
  readonly loss: number;
  /** Share of rows, or of tokens, whose best guess is right. */
  readonly accuracy: number;
  /** exp(loss), of tokens. */
  readonly perplexity?: number;
  /** Of labels: `f1Of`. */
  readonly f1?: number | null;
  /**
   * Of causal models: the share of rows of which every token that was to be predicted is the likeliest one after the
   * right ones before it (teacher forced). It is what greedy generation would write, as long as it is right so far.
   */
  readonly exactMatch?: number;
}

/** @returns null where there are no rows */
export function metricsOf(
  task: TaskSpec,
  examples: Pick<Examples, 'labels' | 'predictions'>,
  outcomes: Outcomes,
): Metrics | null {
  const { rows, loss, correct, best } = outcomes;
  const units = unitsOf(examples, rows);
  if (units === 0) return null;
  const mean = sum(loss) / units;
  const common = { rows: rows.length, loss: mean, accuracy: sum(correct) / units };
  if (task.type === 'classification') {
    const truths = Int32Array.from(rows, (row) => examples.labels[row]!);
    return { ...common, f1: f1Of(confusionOf(truths, best!, task.labels.length)) };
  }
  const perplexity = Math.exp(mean);
  if (task.type === 'masked-lm') return { ...common, perplexity };
  const whole = rows.reduce((count, row, i) => count + Number(correct[i] === unitsOf(examples, [row])), 0);
  return { ...common, perplexity, exactMatch: whole / rows.length };
}

/** How many rows of each label got each guess: [truth * labels + guess]. */
export function confusionOf(truths: Int32Array, guesses: Int32Array, labels: number): Int32Array {
  const counts = new Int32Array(labels * labels);
  for (let i = 0; i < truths.length; i++) counts[truths[i]! * labels + guesses[i]!]!++;
  return counts;
}

/**
 * F1 = 2 TP / (2 TP + FP + FN), van Rijsbergen's measure with equal weights. Of two labels that of the second one, the
 * positive; of more the mean over the labels, each with the same weight (macro), but for those that no row has and no
 * guess names.
 * @param counts square matrix as `confusionOf` makes it
 * @returns null where there is nothing to take the mean of
 */
export function f1Of(counts: Int32Array): number | null {
  const labels = Math.sqrt(counts.length);
  const counted = Array.from({ length: labels }, (_, label) => label).slice(labels === 2 ? 1 : 0);
  const scores = counted.flatMap((label) => {
    let named = 0;
    for (let other = 0; other < labels; other++)
      named += counts[label * labels + other]! + counts[other * labels + label]!;
    return named === 0 ? [] : [(2 * counts[label * labels + label]!) / named];
  });
  return scores.length === 0 ? null : sum(scores) / scores.length;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
