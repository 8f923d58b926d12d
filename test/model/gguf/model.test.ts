import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Session } from '../../../worker/engine/evaluators/session.ts';
import { openModelFolder } from '../../../worker/model/folder.ts';
import { openGguf } from '../../../worker/model/gguf/source.ts';
import type { Adapters } from '../../../worker/model/graph.ts';
import { loadWeights } from '../../../worker/model/source.ts';
import type { Weights } from '../../../worker/model/tensor.ts';
import { batchOf, distance } from '../session.ts';
import { missingSmollm2, smollm2 } from '../smollm2.ts';
import { numbers, writeTiny } from './tiny.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-gguf-model-'));
after(() => rmSync(root, { recursive: true }));

/** Losses of two texts at three probes of LoRA factors on every matrix, [3, 2]. */
async function losses(path: string, weights?: Weights): Promise<Float32Array> {
  const { model } = await openModelFolder(path);
  const matrices = model.matrices.map(({ name }) => name);
  const adapters: Adapters = { type: 'lora', rank: 2, alpha: 4, matrices };
  const end = { from: 'ids', to: 'loss', end: 'tokens', pooling: 'mean' } as const;
  const graph = model.graph({ ...end, adapters, ...(weights && { weights }) });
  const session = await Session.open(graph, { threads: 1 });
  const random = numbers(5);
  const factors = graph.inputs.flatMap(({ name, dims }) => {
    if (!/\.[AB]$/.test(name)) return [];
    const [, rows, width] = dims as [string, number, number];
    const data = Float32Array.from({ length: 3 * rows * width }, () => 0.2 * (random() - 0.5));
    return [[name, { data, dims: [3, rows, width] }]];
  });
  const result = await session.run({
    ...Object.fromEntries(factors),
    ...batchOf([
      [1, 5, 9, 2],
      [7, 8, 3],
    ]),
    positions: { data: Int32Array.of(1, 2, 5), dims: [3] },
    targets: { data: Int32Array.of(9, 2, 3), dims: [3] },
    shares: { data: Float32Array.of(1, 0, 1, 0, 0, 1), dims: [3, 2] },
  });
  await session.close();
  return result.loss!;
}

for (const type of ['Q4_0', 'Q4_1', 'Q8_0'] as const)
  test(`probes of adapters over a base that stays in ${type} have the losses of one that is widened`, async () => {
    const path = writeTiny(join(root, `${type}.gguf`), type);
    const { weights } = await loadWeights((await openGguf(path)).source);
    const kept = await losses(path);
    assert.equal(kept.length, 6);
    assert.ok(new Set(kept).size === 6, 'each probe moves each loss');
    const far = distance(kept, await losses(path, weights));
    assert.ok(far < 1e-5, `${far}`);
  });

test('SmolLM2 in 4 bits says what the capital of France is, as it does in 32', {
  skip: await missingSmollm2(),
}, async () => {
  const path = await smollm2();
  const { model, tokenizer } = await openModelFolder(path);
  const { weights } = await loadWeights((await openGguf(path)).source);
  const ids = tokenizer.pieces(
    '<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe capital of France is',
  );
  const logits = async (replaced?: Weights) => {
    const end = { from: 'ids', to: 'logits', end: 'tokens', pooling: 'mean' } as const;
    const graph = model.graph({ ...end, ...(replaced && { weights: replaced }) });
    const session = await Session.open(graph, { threads: 2 });
    const feeds = { ...batchOf([ids]), positions: { data: Int32Array.of(ids.length - 1), dims: [1] } };
    const result = await session.run(feeds);
    await session.close();
    return result.logits!;
  };
  const kept = await logits();
  const best = kept.indexOf(Math.max(...kept));
  assert.deepEqual([...tokenizer.pieces(' Paris')], [best]);
  const far = distance(kept, await logits(weights));
  assert.ok(far < 2e-4, `${far}`);
});
