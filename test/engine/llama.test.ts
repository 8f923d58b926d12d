import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOf, objectiveOf } from '../../worker/engine/objective.ts';
import { planEngine } from '../../worker/engine/plan.ts';
import type { JobSpec, ScopeSpec, TaskSpec } from '../../worker/journal/job.ts';
import type { ModelFolder } from '../../worker/model/folder.ts';
import { llamaModel } from '../../worker/model/llama-model.ts';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { unitsOf } from '../../worker/task/batch.ts';
import { type Examples, NO_EXAMPLES } from '../../worker/task/examples.ts';
import { random } from '../model/tiny.ts';
import { memberConfig, memberTokenizer, memberWeights } from '../model/tiny-llama.ts';
import { jobOf, moveTo, open, scope, seedsOf, stage, tinyFolder } from './fixture.ts';

const common = { maxTokens: 32, pooling: 'mean' } as const;
const TOKENS: TaskSpec = { type: 'causal-lm', ...common, text: '{text}' };
const WORDS: TaskSpec = {
  type: 'classification',
  ...common,
  text: '{text}',
  label: 'label',
  labels: ['n', 'y', 'm'],
  words: ['b', 'c', 'd'],
};

function folderOf(member: string): ModelFolder {
  return {
    dir: '/tiny',
    model: llamaModel(memberConfig(member), memberWeights(member)),
    tokenizer: openTokenizer(memberTokenizer(), { eos_token: '<|end|>' }),
    config: {},
    digests: { weights: '', tokenizer: '' },
  };
}

/** Rows of 3 to 14 tokens, the later ones of each to be predicted. */
function examplesOf(count: number, seed: number, tokens: boolean): Examples {
  const numbers = random(count * 20, seed);
  const pick = (i: number, below: number) => Math.floor(((numbers[i]! + 1) / 2) * below);
  const ids = Array.from({ length: count }, (_, row) =>
    Int32Array.from({ length: 3 + pick(row * 20, 12) }, (_, k) => pick(row * 20 + 1 + k, 30)),
  );
  const base = { ids, labels: Int32Array.from(ids, (_, row) => pick(row * 20 + 17, 3)), truncated: 0 };
  if (!tokens) return base;
  const predictions = ids.map((row, i) => {
    const first = 1 + (i % 2);
    const at = Int32Array.from({ length: row.length - first }, (_, k) => first - 1 + k);
    return { at, tokens: at.map((p) => row[p + 1]!) };
  });
  return { ...base, predictions };
}

const jobFor = (task: TaskSpec, spec: ScopeSpec, sides: 1 | 2): JobSpec => ({
  ...jobOf([stage(spec, { sides, radius: 2 ** -8 })]),
  task,
});
const ALL = ['query', 'key', 'value', 'output', 'gate', 'up', 'down'] as const;
const SCOPES: readonly (readonly [string, ScopeSpec])[] = [
  ['lora', scope('lora', { matrices: ALL })],
  ['subspace over the last layer', scope('subspace', { layers: '1', matrices: ALL })],
  ['full', scope('full', { matrices: ALL })],
];
const rows = Int32Array.from({ length: 13 }, (_, i) => (i * 5) % 20);

for (const [what, task, member] of [
  ['tokens', TOKENS, 'qwen3'],
  ['words', WORDS, 'qwen2'],
] as const) {
  for (const [name, spec] of SCOPES) {
    test(`${what}, ${name}: values are the differences of plainly evaluated losses, in whatever chunks`, async () => {
      for (const [sides, chunking] of [
        [1, { rows: 20, examples: 64, tokens: 1024 }],
        [2, { rows: 4, examples: 12, tokens: 40 }],
      ] as const) {
        const train = examplesOf(20, 1, task === TOKENS);
        const examples = { train, validation: NO_EXAMPLES, test: NO_EXAMPLES };
        const opened = await open(jobFor(task, spec, sides), {
          folder: folderOf(member),
          examples,
          chunking,
        });
        await opened.evaluator.enter(0, 0);
        const before = opened.state.digest();
        const seeds = seedsOf(3);
        const found = await opened.evaluator.probe(seeds, rows);
        assert.equal(opened.state.digest(), before);
        const units = unitsOf(train, rows);
        assert.equal(found.lossCount, units);
        const sumAt = async (seed: Uint32Array, sign: -1 | 0 | 1) => {
          moveTo(opened, 0, seed, sign);
          const { lossSum, count, correct } = await opened.evaluator.evaluate('train', rows);
          moveTo(opened, 0, seed, -sign as -1 | 0 | 1);
          assert.equal(count, units);
          assert.ok(Number.isInteger(correct) && correct >= 0 && correct <= units);
          return lossSum;
        };
        for (let p = 0; p < 3; p++) {
          const seed = seeds.slice(4 * p, 4 * p + 4);
          const gap = (await sumAt(seed, 1)) - (await sumAt(seed, sides === 2 ? -1 : 0));
          const expected = gap / units / (sides * 2 ** -8);
          const { [p]: value = Number.NaN } = found.values;
          assert.ok(Math.abs(value - expected) < 5e-3 + 2e-3 * Math.abs(expected), `${value} ${expected}`);
          assert.ok(Math.abs(expected) > 1e-2, 'the direction matters');
        }
        await opened.evaluator.close();
      }
    });
  }
}

test('a task of tokens or words has no head: nothing of one is in the state, and no stage can train it', () => {
  const { model } = folderOf('llama');
  for (const task of [TOKENS, WORDS]) {
    const plan = planEngine(jobFor(task, scope('lora', { matrices: ['value'] }), 2), model);
    assert.equal(plan.head, false);
    assert.deepEqual(
      plan.tensors.map(({ name }) => name),
      [0, 1].flatMap((layer) => ['A', 'B'].map((part) => `model.layers.${layer}.self_attn.v_proj.${part}`)),
    );
    assert.throws(() => planEngine(jobFor(task, scope('head'), 2), model), { code: 'PLAN_INVALID' });
  }
});

test('the weights of a full stage are those of its layers, norms and biases included', () => {
  const { model } = folderOf('qwen2');
  const plan = planEngine(
    jobFor(TOKENS, scope('full', { layers: '1', matrices: ['query', 'down'] }), 2),
    model,
  );
  const at = 'model.layers.1';
  assert.deepEqual(
    plan.tensors.map(({ name }) => name).sort(),
    [
      `${at}.input_layernorm.weight`,
      `${at}.mlp.down_proj.weight`,
      `${at}.post_attention_layernorm.weight`,
      `${at}.self_attn.q_proj.bias`,
      `${at}.self_attn.q_proj.weight`,
    ].sort(),
  );
  const whole = planEngine(jobFor(TOKENS, scope('full', { matrices: ALL }), 2), model);
  assert.equal(whole.tensors.length, model.weights.size);
});

test('a model that cannot do the task, and words that cannot be told apart, are refused', () => {
  const { model, tokenizer } = folderOf('llama');
  const bert = tinyFolder();
  for (const task of [TOKENS, WORDS]) {
    assert.throws(() => endOf(task, bert.model), { code: 'TASK_UNSUPPORTED' });
  }
  const masked: TaskSpec = { type: 'masked-lm', ...common, text: '{text}' };
  for (const each of [model, bert.model])
    assert.throws(() => endOf(masked, each), { code: 'TASK_UNSUPPORTED' });
  const { words } = objectiveOf(WORDS, model, tokenizer);
  assert.deepEqual(
    words,
    ['b', 'c', 'd'].map((word) => tokenizer.pieces(word)[0]),
  );
  const refused = (words: string[], message: RegExp) =>
    assert.throws(() => objectiveOf({ ...WORDS, words } as TaskSpec, model, tokenizer), {
      code: 'LABELS_INVALID',
      field: 'task.words',
      message,
    });
  refused(['b', 'ba', 'd'], /the word "ba" has 2 tokens of this model, not one/);
  refused(['b', 'd', 'b'], /the words "b" and "b" are the same token/);
});
