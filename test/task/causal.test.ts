import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CausalTask, MaskedTask, TaskSpec } from '../../worker/journal/job.ts';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { padBatch, unitsOf } from '../../worker/task/batch.ts';
import { type Examples, prepareExamples } from '../../worker/task/examples.ts';
import type { Row } from '../../worker/task/template.ts';
import { tinyTokenizer } from '../model/tiny.ts';
import { CHAT_TEMPLATE, memberTokenizer } from '../model/tiny-llama.ts';

const config = { eos_token: '<|end|>', chat_template: CHAT_TEMPLATE };
const tokenizer = openTokenizer(memberTokenizer(), config);
const common = { maxTokens: 64, pooling: 'mean' } as const;
const END = 0;
const USER = 1;
const BOT = 2;
const ids = (text: string) => [...tokenizer.pieces(text)];

function prepare(task: Partial<CausalTask>, rows: readonly Row[], limit = 64): Examples {
  const whole: TaskSpec = { type: 'causal-lm', ...common, maxTokens: limit, ...task };
  return prepareExamples(whole, tokenizer, 128, [{ name: 'a', rows }]);
}

/** The tokens that are to be predicted, and that each is the one after its place. */
function predicted({ ids: all, predictions }: Examples, row = 0): number[] {
  const { at, tokens } = predictions![row]!;
  assert.deepEqual(
    [...tokens],
    [...at].map((i) => all[row]![i + 1]),
  );
  return [...tokens];
}

test('of a plain text every token but the first is predicted, and its end', () => {
  const examples = prepare({ text: '{text}' }, [{ text: 'abc' }]);
  assert.deepEqual([...examples.ids[0]!], [...ids('abc'), END]);
  assert.deepEqual(predicted(examples), [...ids('bc'), END]);
  assert.equal(examples.truncated, 0);
});

test('of a prompt and its completion the completion and its end are predicted', () => {
  const task = { prompt: 'say {x}.', completion: ' {y}' };
  const examples = prepare(task, [{ x: 'b', y: 'cd' }]);
  assert.deepEqual([...examples.ids[0]!], [...ids('say b.'), ...ids(' cd'), END]);
  assert.deepEqual(predicted(examples), [...ids(' cd'), END]);
});

test("of a chat the assistant's turns are predicted, each with its end", () => {
  const messages = [
    { role: 'user', content: 'hi' },
    { role: 'assistant', content: 'yes' },
    { role: 'user', content: 'bye' },
    { role: 'assistant', content: 'no' },
  ];
  const examples = prepare({ messages: 'chat' }, [{ chat: messages }]);
  const turn = (role: number, text: string) => [role, ...ids(text), END];
  assert.deepEqual(
    [...examples.ids[0]!],
    [...turn(USER, 'hi'), ...turn(BOT, 'yes'), ...turn(USER, 'bye'), ...turn(BOT, 'no')],
  );
  assert.deepEqual(predicted(examples), [...ids('yes'), END, ...ids('no'), END]);
});

test('a text over the limit loses its end and is counted; a completion cut away whole is refused by row', () => {
  const task = { prompt: '{x}', completion: '{y}' };
  const rows = [
    { x: 'abcd', y: 'ef' },
    { x: 'abc', y: 'defghi' },
  ];
  const examples = prepare(task, rows, 6);
  assert.equal(examples.truncated, 2);
  assert.deepEqual(predicted(examples, 0), ids('ef'));
  assert.deepEqual(predicted(examples, 1), ids('def'));
  assert.throws(() => prepare(task, rows, 4), { code: 'COMPLETION_EMPTY', field: 'task.maxTokens' });
  assert.throws(() => prepare(task, [{ x: 'abc', y: '' }]), {
    code: 'COMPLETION_EMPTY',
    message: /row 1 of source 'a'/,
  });
});

test('chats that are none, or that the template refuses, are refused by row', () => {
  const wrong: unknown[] = [
    undefined,
    'hi',
    [{ role: 'user' }],
    [{ role: 'user', content: 'hi' }],
    [
      { role: 'system', content: 'be kind' },
      { role: 'assistant', content: 'yes' },
    ],
  ];
  for (const chat of wrong) {
    assert.throws(() => prepare({ messages: 'chat' }, [{ chat }]), {
      code: 'CHAT_INVALID',
      message: /row 1 of source 'a'/,
    });
  }
  const plain = openTokenizer(memberTokenizer(), {});
  const task: CausalTask = { type: 'causal-lm', ...common, messages: 'chat' };
  assert.throws(() => prepareExamples(task, plain, 64, [{ name: 'a', rows: [] }]), {
    code: 'TASK_UNSUPPORTED',
  });
});

test('a source with templates of its own takes the place of the task', () => {
  const task: CausalTask = { type: 'causal-lm', ...common, prompt: '{x}', completion: '{y}' };
  const read = (own: object, row: Row) =>
    predicted(prepareExamples(task, tokenizer, 64, [{ name: 'a', rows: [row], ...own }]));
  assert.deepEqual(read({ completion: '{z}' }, { x: 'ab', z: 'c' }), [...ids('c'), END]);
  assert.deepEqual(read({ text: '{t}' }, { t: 'ab' }), [...ids('b'), END]);
});

test('a prompt with words keeps its end where it is too long', () => {
  const task: TaskSpec = {
    type: 'classification',
    ...common,
    maxTokens: 5,
    text: '{text} so',
    label: 'label',
    labels: ['n', 'y'],
    words: [' no', ' yes'],
  };
  const rows = [{ text: 'abcdef', label: 'y' }];
  const examples = prepareExamples(task, tokenizer, 64, [{ name: 'a', rows }]);
  assert.deepEqual([...examples.ids[0]!], ids('ef so'));
  assert.equal(examples.truncated, 1);
  assert.deepEqual([...examples.labels], [1]);
  assert.equal(examples.predictions, undefined);
});

test('a text without a token has no place that a word could follow, and is refused by row', () => {
  const words = [' no', ' yes'];
  const task: TaskSpec = {
    type: 'classification',
    ...common,
    text: '{text}',
    label: 'y',
    labels: ['n', 'y'],
    words,
  };
  const rows = [
    { text: 'a', y: 'y' },
    { text: '', y: 'n' },
  ];
  assert.throws(() => prepareExamples(task, tokenizer, 64, [{ name: 'a', rows }]), {
    code: 'TEXT_EMPTY',
    message: /row 2 of source 'a'/,
  });
});

test('gaps hide tokens of the text, the same ones every time, and those are predicted where they stand', () => {
  const bert = openTokenizer(tinyTokenizer(), {});
  const task: MaskedTask = { type: 'masked-lm', ...common, text: '{text}' };
  const rows = [{ text: 'the film was not very good it was a bad film' }, { text: 'good' }];
  const maskId = bert.pieces('film')[0]!;
  const masked = { ...bert, maskId };
  const read = () => prepareExamples(task, masked, 64, [{ name: 'a', rows }]);
  const examples = read();
  assert.deepEqual(read(), examples);
  for (const [i, { text }] of rows.entries()) {
    const whole = bert.encode(text, 64).ids;
    const { at, tokens } = examples.predictions![i]!;
    assert.ok(at.length >= 1 && at.every((p) => p > 0 && p < whole.length - 1));
    const again = examples.ids[i]!.slice();
    for (const [k, p] of at.entries()) {
      assert.equal(again[p], maskId);
      again[p] = tokens[k]!;
    }
    assert.deepEqual(again, whole);
  }
  assert.throws(() => prepareExamples(task, tokenizer, 64, [{ name: 'a', rows }]), {
    code: 'TASK_UNSUPPORTED',
  });
});

test('a batch names the rows that predict, what is right, and whose it is', () => {
  const lengths = fc.array(fc.integer({ min: 2, max: 9 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(lengths, (sizes) => {
      const texts = sizes.map((n, i) => ({ text: 'abcdefghij'.slice(i % 3, (i % 3) + n) }));
      const examples = prepare({ text: '{text}' }, texts);
      const rows = sizes.map((_, i) => i).reverse();
      const { positions, targets, shares, ids: padded, tokens, count } = padBatch(examples, rows, 7);
      assert.equal(unitsOf(examples, rows), targets.length);
      assert.equal(shares.length, targets.length * count);
      for (const [k, position] of positions.entries()) {
        assert.equal(padded[position + 1], targets[k]);
        const owner = Math.floor(position / tokens);
        const row = shares.subarray(k * count, (k + 1) * count);
        assert.deepEqual(
          [...row],
          Array.from({ length: count }, (_, i) => Number(i === owner)),
        );
      }
    }),
  );
});
