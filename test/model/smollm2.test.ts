import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { CausalTask } from '../../worker/journal/job.ts';
import { type ModelFolder, openModelFolder } from '../../worker/model/folder.ts';
import { padBatch } from '../../worker/task/batch.ts';
import { prepareExamples } from '../../worker/task/examples.ts';
import { distance, type GraphRun, openGraph } from './session.ts';
import { missingSmollm2, smollm2 } from './smollm2.ts';

interface OracleRow {
  readonly text: string;
  readonly ids: number[];
  readonly losses: number[];
  /** Every 512th logit of every token; every 16th of the last. */
  readonly logits: number[];
  readonly last: number[];
  readonly best: number;
}

/** What transformers says: see oracle/make.ts. */
const { smollm2: oracle }: { smollm2: { rows: OracleRow[]; chat: { messages: object[]; ids: number[] } } } =
  JSON.parse(readFileSync(new URL('oracle/llama.json', import.meta.url), 'utf8'));
const VOCABULARY = 49152;

describe('the real SmolLM2', { skip: await missingSmollm2() }, () => {
  let folder: ModelFolder;
  let logits: GraphRun;
  let loss: GraphRun;
  const task: CausalTask = { type: 'causal-lm', text: '{text}', maxTokens: 128, pooling: 'mean' };

  before(async () => {
    folder = await openModelFolder(await smollm2());
    const base = { from: 'ids', end: 'tokens', pooling: 'mean' } as const;
    logits = await openGraph(folder.model.graph({ ...base, to: 'logits' }), 2);
    loss = await openGraph(folder.model.graph({ ...base, to: 'loss' }), 2);
  });
  after(async () => {
    await logits.close();
    await loss.close();
  });

  test('real text has the token ids of transformers', () => {
    for (const { text, ids } of oracle.rows) assert.deepEqual([...folder.tokenizer.pieces(text)], ids);
  });

  /** How far logits are from those of transformers, on all rows of the oracle; the next token is the same. */
  async function furthest(graph: GraphRun): Promise<number> {
    let most = 0;
    for (const { ids, logits: expected, last, best } of oracle.rows) {
      const dims = [1, ids.length];
      const result = await graph.run({
        input_ids: { dims, data: Int32Array.from(ids) },
        attention_mask: { dims, data: new Int32Array(ids.length).fill(1) },
        positions: { dims: [ids.length], data: Int32Array.from(ids, (_, i) => i) },
      });
      const { data } = result.logits!;
      const some = Array.from({ length: expected.length }, (_, i) => data[i * 512]!);
      const own = data.subarray((ids.length - 1) * VOCABULARY);
      const few = last.map((_, i) => own[i * 16]!);
      most = Math.max(most, distance(some, expected), distance(few, last));
      assert.equal(own.indexOf(Math.max(...own)), best);
    }
    return most;
  }

  test('logits equal those of transformers within 2e-4, and the next token is the same', async (t) => {
    const most = await furthest(logits);
    t.diagnostic(`a base of 4 bits: logits differ by ${most.toExponential(1)} at most`);
    assert.ok(most <= 2e-4, `${most}`);
  });

  test('the same of weights widened to float32', async (t) => {
    const weights = new Map(
      [...folder.model.weights].map(([name, { dims, data }]) => [name, { dims, data }]),
    );
    const options = { from: 'ids', to: 'logits', end: 'tokens', pooling: 'mean', weights } as const;
    const graph = await openGraph(folder.model.graph(options), 2);
    const most = await furthest(graph);
    await graph.close();
    t.diagnostic(`weights in 32 bits: logits differ by ${most.toExponential(1)} at most`);
    assert.ok(most <= 2e-4, `${most}`);
  });

  test('losses of texts in one padded batch are those of each text alone', async () => {
    const rows = oracle.rows.map(({ text }) => ({ text }));
    const plain = { ...folder.tokenizer, endId: undefined };
    const examples = prepareExamples(task, plain, 8192, [{ name: 'oracle', rows }]);
    const { ids, mask, tokens, count, positions, targets, shares } = padBatch(
      examples,
      rows.map((_, i) => i),
      0,
    );
    const result = await loss.run({
      input_ids: { dims: [count, tokens], data: ids },
      attention_mask: { dims: [count, tokens], data: mask },
      positions: { dims: [positions.length], data: positions },
      targets: { dims: [targets.length], data: targets },
      shares: { dims: [targets.length, count], data: shares },
    });
    const expected = oracle.rows.map(({ losses }) => losses.reduce((a, b) => a + b, 0));
    assert.ok(distance(result.loss!.data, expected) < 1e-3);
  });

  test("a chat is written by the model's own template, token for token", () => {
    const { messages, ids } = oracle.chat;
    const chat: CausalTask = { type: 'causal-lm', messages: 'chat', maxTokens: 128, pooling: 'mean' };
    const { ids: own, predictions } = prepareExamples(chat, folder.tokenizer, 8192, [
      { name: 'chat', rows: [{ chat: messages }] },
    ]);
    assert.deepEqual([...own[0]!], ids);
    const answer = folder.tokenizer.pieces('I am a small model.<|im_end|>\n');
    assert.deepEqual([...predictions![0]!.tokens], [...answer]);
  });
});
