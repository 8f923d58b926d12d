import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TaskSpec } from '../../worker/journal/job.ts';
import { confusionOf, f1Of, metricsOf } from '../../worker/task/metrics.ts';

const common = { maxTokens: 64, pooling: 'mean' } as const;
const near = (found: number, expected: number) =>
  assert.ok(Math.abs(found - expected) < 1e-12, `${found}, not ${expected}`);

function classification(labels: readonly string[]): TaskSpec {
  return { type: 'classification', text: '{text}', label: 'label', labels, ...common };
}

/** F1 by its definition, label by label: the harmonic mean of precision and recall. */
function slowF1(truths: readonly number[], guesses: readonly number[], label: number): number | null {
  const hits = truths.filter((truth, i) => truth === label && guesses[i] === label).length;
  const named = guesses.filter((guess) => guess === label).length;
  const there = truths.filter((truth) => truth === label).length;
  if (named + there === 0) return null;
  if (hits === 0) return 0;
  const [precision, recall] = [hits / named, hits / there];
  return (2 * precision * recall) / (precision + recall);
}

test('F1 of two labels is that of the second: 3 hits, 1 missed, 2 false alarms give 6 / 9', () => {
  const truths = Int32Array.of(1, 1, 1, 1, 0, 0, 0, 0);
  const guesses = Int32Array.of(1, 1, 1, 0, 1, 1, 0, 0);
  const counts = confusionOf(truths, guesses, 2);
  assert.deepEqual([...counts], [2, 2, 1, 3]);
  near(f1Of(counts)!, 6 / 9);
});

test('F1 of three labels is their mean: 1/2, 4/5 and 0 give 13/30', () => {
  const truths = Int32Array.of(0, 0, 1, 1, 2);
  const guesses = Int32Array.of(0, 1, 1, 1, 0);
  // Label 0: one hit, one missed, one false; label 1: two hits, one false; label 2: missed.
  near(f1Of(confusionOf(truths, guesses, 3))!, 13 / 30);
});

test('a label that no row has and no guess names is left out of the mean', () => {
  const same = Int32Array.of(0, 1, 1);
  assert.equal(f1Of(confusionOf(same, same, 5)), 1);
  assert.equal(f1Of(confusionOf(Int32Array.of(0, 0), Int32Array.of(0, 0), 2)), null);
});

test('F1 from counts is the harmonic mean of precision and recall, whatever the labels and guesses', () => {
  const rows = fc.integer({ min: 2, max: 6 }).chain((labels) => {
    const label = fc.integer({ min: 0, max: labels - 1 });
    return fc.record({ labels: fc.constant(labels), pairs: fc.array(fc.tuple(label, label)) });
  });
  fc.assert(
    fc.property(rows, ({ labels, pairs }) => {
      const [truths, guesses] = [0, 1].map((i) => pairs.map((pair) => pair[i]!)) as [number[], number[]];
      const found = f1Of(confusionOf(Int32Array.from(truths), Int32Array.from(guesses), labels));
      const all = Array.from({ length: labels }, (_, label) => slowF1(truths, guesses, label));
      const counted = (labels === 2 ? all.slice(1) : all).filter((score) => score !== null);
      if (counted.length === 0) assert.equal(found, null);
      else near(found!, counted.reduce((a, b) => a + b, 0) / counted.length);
    }),
  );
});

test('of labels: loss and accuracy over rows, in whatever order those were evaluated', () => {
  const found = metricsOf(
    classification(['no', 'yes']),
    { labels: Int32Array.of(1, 0, 1) },
    {
      rows: Int32Array.of(2, 0, 1),
      loss: Float32Array.of(0.5, 0.25, 2),
      correct: Float32Array.of(1, 1, 0),
      best: Int32Array.of(1, 1, 1),
    },
  );
  assert.deepEqual(found, { rows: 3, loss: 2.75 / 3, accuracy: 2 / 3, f1: 4 / 5 });
});

test('of tokens: loss, perplexity and accuracy over tokens, and the share of rows that are wholly right', () => {
  const tokens = (count: number) => ({ at: new Int32Array(count), tokens: new Int32Array(count) });
  const examples = { labels: new Int32Array(3), predictions: [tokens(3), tokens(1), tokens(2)] };
  const outcomes = {
    rows: Int32Array.of(1, 2, 0),
    loss: Float32Array.of(0.5, 1, 1.5),
    correct: Float32Array.of(1, 2, 2),
  };
  const task: TaskSpec = { type: 'causal-lm', prompt: 'a', completion: 'b', ...common };
  const found = metricsOf(task, examples, outcomes);
  assert.deepEqual(found, {
    rows: 3,
    loss: 0.5,
    accuracy: 5 / 6,
    perplexity: Math.exp(0.5),
    exactMatch: 2 / 3,
  });
  const gaps = metricsOf({ type: 'masked-lm', text: '{text}', ...common }, examples, outcomes);
  assert.equal(gaps!.exactMatch, undefined);
});

test('of no rows there are no metrics', () => {
  const none = { rows: new Int32Array(0), loss: new Float32Array(0), correct: new Float32Array(0) };
  assert.equal(metricsOf(classification(['a', 'b']), { labels: new Int32Array(0) }, none), null);
});
