import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClassificationTask } from '../../worker/journal/job.ts';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { prepareExamples, prepareTexts, tokenLimit } from '../../worker/task/examples.ts';
import { tinyTokenizer } from '../model/tiny.ts';

const tokenizer = openTokenizer(tinyTokenizer(), {});
const task: ClassificationTask = {
  type: 'classification',
  text: '{text}',
  label: 'label',
  labels: ['negative', 'positive'],
  maxTokens: 6,
  pooling: 'mean',
};
const POSITIONS = 24;

test('rows of several sources become token ids and class numbers, in order', () => {
  const examples = prepareExamples(task, tokenizer, POSITIONS, [
    { name: 'a', rows: [{ text: 'good film', label: 'positive' }] },
    { name: 'b', rows: [{ body: 'bad', mood: 'negative' }], text: 'not {body}', label: '{mood}' },
  ]);
  assert.deepEqual(
    examples.ids.map((ids) => [...ids]),
    [
      [2, 4, 7, 3],
      [2, 11, 5, 3],
    ],
  );
  assert.deepEqual([...examples.labels], [1, 0]);
  assert.equal(examples.truncated, 0);
});

test('a text over the limit loses its end, keeps its closing token, and is counted', () => {
  const rows = [
    { text: 'the film was not very good', label: 'negative' },
    { text: 'it was bad', label: 'negative' },
  ];
  const examples = prepareExamples(task, tokenizer, POSITIONS, [{ name: 'a', rows }]);
  assert.equal(examples.truncated, 1);
  assert.deepEqual([...examples.ids[0]!], [2, 13, 7, 8, 11, 3]);
  assert.equal(tokenLimit(task, 4), 4);
  assert.equal(prepareExamples(task, tokenizer, 4, [{ name: 'a', rows }]).ids[1]!.length, 4);
});

test('the label is a field or a template, and numbers and booleans are read as text', () => {
  const prepare = (label: string, labels: string[], row: object) =>
    prepareExamples({ ...task, label, labels }, tokenizer, POSITIONS, [
      { name: 'a', rows: [{ text: 'good', ...row }] },
    ]).labels[0];
  assert.equal(prepare('stars', ['1', '2'], { stars: 2 }), 1);
  assert.equal(prepare('is_{ok}', ['is_false', 'is_true'], { ok: true }), 1);
  assert.throws(() => prepare('stars', ['1', '2'], { stars: 3 }), { code: 'LABEL_UNKNOWN' });
});

test("a mistake in a source's own template names the source", () => {
  const prepare = () =>
    prepareExamples(task, tokenizer, POSITIONS, [
      { name: 'news', rows: [{ text: 'a' }], text: '{headline}' },
    ]);
  assert.throws(prepare, { code: 'ROW_FIELD_MISSING', field: 'text of source news' });
});

test('text without labels is tokenised alike', () => {
  const texts = prepareTexts(task, tokenizer, POSITIONS, {
    name: 'news',
    rows: [{ text: 'good' }, { text: '' }],
  });
  assert.deepEqual(
    texts.map((ids) => [...ids]),
    [
      [2, 4, 3],
      [2, 3],
    ],
  );
});
