import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadExamples } from '../../worker/engine/load-examples.ts';
import type { SourceSpec, TaskSpec } from '../../worker/journal/job.ts';
import { llamaModel } from '../../worker/model/llama-model.ts';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { CHAT_TEMPLATE, memberConfig, memberTokenizer, memberWeights } from '../model/tiny-llama.ts';

const folder = {
  model: llamaModel(memberConfig('llama'), memberWeights('llama')),
  tokenizer: openTokenizer(memberTokenizer(), { eos_token: '<|end|>', chat_template: CHAT_TEMPLATE }),
};
const task: TaskSpec = {
  type: 'causal-lm',
  prompt: 'a {x}',
  completion: '{y}',
  maxTokens: 32,
  pooling: 'mean',
};
const END = 0;
const ids = (text: string) => [...folder.tokenizer.pieces(text)];

test('a source with templates of its own is read by them, one without by those of the task', async (t) => {
  const data = await mkdtemp(join(tmpdir(), 'onebyte-rows-'));
  t.after(() => rm(data, { recursive: true }));
  const chat = [
    { role: 'user', content: 'd' },
    { role: 'assistant', content: 'e' },
  ];
  await writeFile(join(data, 'a.jsonl'), `${JSON.stringify({ x: 'b', y: 'c', chat })}\n`);
  const sources: SourceSpec[] = [
    { name: 'plain', uri: 'a.jsonl' },
    { name: 'prompted', uri: 'a.jsonl', prompt: 'ab {x}' },
    { name: 'answered', uri: 'a.jsonl', completion: '{y}{y}' },
    { name: 'text', uri: 'a.jsonl', text: '{y}{x}' },
    { name: 'chat', uri: 'a.jsonl', messages: 'chat' },
  ];
  const examples = await loadExamples(task, folder, sources, { folder: data });
  const rows = examples.ids.map((row) => [...row]);
  assert.deepEqual(rows.slice(0, 4), [
    [...ids('a b'), ...ids('c'), END],
    [...ids('ab b'), ...ids('c'), END],
    [...ids('a b'), ...ids('cc'), END],
    [...ids('cb'), END],
  ]);
  assert.equal(rows.length, 5);
  const counts = examples.predictions!.map(({ tokens }) => tokens.length);
  // Of the chat the assistant's turn and its end, of the text all but its first token.
  assert.deepEqual(counts, [2, 2, 3, 2, 2]);
});
