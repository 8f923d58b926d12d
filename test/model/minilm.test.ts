import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Tokenizer } from 'tokenizers';
import type { BertConfig } from '../../worker/model/bert.ts';
import { readBertConfig } from '../../worker/model/config.ts';
import { type ModelFolder, openModelFolder } from '../../worker/model/folder.ts';
import type { Adapters } from '../../worker/model/graph.ts';
import type { TensorView } from '../../worker/model/tensor.ts';
import { MINILM_SHA256, minilm, missingMinilm } from './minilm.ts';
import { ReferenceBert } from './reference.ts';
import { batchOf, distance, openGraph, type Value } from './session.ts';
import { random, randomTensor } from './tiny.ts';

const sentences = [
  'A gripping, beautifully shot film that never once forgets its people.',
  'Dull.',
  'I wanted to like it; the battery died after two days, and nobody answered my mail!',
];

describe('the real MiniLM', { skip: await missingMinilm() }, () => {
  let folder: ModelFolder;
  let config: BertConfig;
  let rows: Int32Array[];
  let batch: Record<string, Value>;
  before(async () => {
    folder = await openModelFolder(await minilm());
    config = readBertConfig(folder.config);
    rows = sentences.map((text) => folder.tokenizer.encode(text, 32).ids);
    batch = batchOf(rows, folder.tokenizer.padId);
  });

  test('is the one that the digest names', () => {
    assert.equal(folder.digests.weights, MINILM_SHA256);
    assert.equal(folder.model.matrices.length, 36);
    assert.equal(folder.tokenizer.vocabulary, folder.model.vocabulary);
  });

  test('every hidden state and the features equal a plain forward pass in doubles', async () => {
    const reference = new ReferenceBert(config, folder.model.weights);
    const expected = rows.map((ids) => reference.hidden(ids));
    const tokens = batch.input_ids!.dims[1]!;
    for (const layer of [0, 1, 3, 6]) {
      const graph = await openGraph(folder.model.graph({ from: 'ids', to: { layer }, pooling: 'mean' }));
      const { data } = (await graph.run(batch)).hidden_out!;
      rows.forEach((ids, i) => {
        const at = i * tokens * config.hidden;
        const seen = data.subarray(at, at + ids.length * config.hidden);
        const gap = distance(
          seen,
          expected[i]![layer]!.flatMap((row) => [...row]),
        );
        assert.ok(gap <= 1e-5, `layer ${layer}, sentence ${i}: ${gap}`);
      });
      await graph.close();
    }
    for (const pooling of ['mean', 'cls'] as const) {
      const graph = await openGraph(folder.model.graph({ from: 'ids', to: 'pooled', pooling }));
      const { pooled } = await graph.run(batch);
      const wanted = expected.flatMap((states) => {
        const last = states.at(-1)!;
        if (pooling === 'cls') return [...last[0]!];
        return [...last[0]!.keys()].map((i) => last.reduce((sum, row) => sum + row[i]!, 0) / last.length);
      });
      assert.ok(distance(pooled!.data, wanted) <= 1e-5);
      await graph.close();
    }
  });

  test('two probes of adapters on all matrices equal two merged models, and zero factors the plain one', async () => {
    const { model } = folder;
    const rank = 8;
    const bases = new Map(model.matrices.map((m, i) => [m.name, randomTensor([rank, m.in], i + 1, 0.2)]));
    const adapters: Adapters = { type: 'subspace', rank, bases };
    const head = {
      'head.weight': { dims: [3, 2, 384], data: random(2304, 9, 0.3) },
      'head.bias': { dims: [3, 2], data: Float32Array.of(0.1, -0.1, 0.2, 0, 0, 0) },
    };
    const labels = { dims: [3], data: Int32Array.of(1, 0, 0) };
    // Probe 0 stays at zero.
    const factors: Record<string, TensorView> = {};
    model.matrices.forEach((m, i) => {
      const data = random(3 * m.out * rank, 100 + i, 0.05).fill(0, 0, m.out * rank);
      factors[`${m.name}.C`] = { dims: [3, m.out, rank], data };
    });
    const graph = await openGraph(
      model.graph({ from: 'ids', to: 'loss', pooling: 'mean', labels: 2, adapters }),
    );
    const { loss } = await graph.run({ ...batch, labels, ...head, ...factors });
    await graph.close();
    for (let p = 0; p < 3; p++) {
      const changed = model.matrices.map((m) => {
        const { dims, data } = model.weights.get(`${m.name}.weight`)!;
        const c = factors[`${m.name}.C`]!.data.subarray(p * m.out * rank, (p + 1) * m.out * rank);
        return [
          `${m.name}.weight`,
          { dims, data: plusProduct(data, c, bases.get(m.name)!.data, rank, m.in) },
        ] as const;
      });
      const weights = model.withWeights(new Map(changed));
      const inputs = new Set(changed.map(([name]) => name));
      const whole = await openGraph(
        model.graph({ weights, inputs, from: 'ids', to: 'loss', pooling: 'mean', labels: 2 }),
      );
      const own = {
        'head.weight': { dims: [1, 2, 384], data: head['head.weight'].data.subarray(p * 768, (p + 1) * 768) },
        'head.bias': { dims: [1, 2], data: head['head.bias'].data.subarray(p * 2, (p + 1) * 2) },
      };
      const merged = await whole.run({ ...batch, labels, ...own, ...Object.fromEntries(changed) });
      const gap = distance(merged.loss!.data, loss!.data.subarray(p * 3, (p + 1) * 3));
      assert.ok(gap < 5e-6, `probe ${p}: ${gap}`);
      await whole.close();
    }
  });

  test('a session keeps its frozen weights when their memory changes', async () => {
    const { model } = folder;
    const name = 'encoder.layer.5.output.dense.weight';
    const copy = model.weights.get(name)!;
    const weights = model.withWeights(new Map([[name, { dims: copy.dims, data: copy.data.slice() }]]));
    const graph = await openGraph(model.graph({ weights, from: 'ids', to: 'pooled', pooling: 'mean' }));
    const first = await graph.run(batch);
    weights.get(name)!.data.fill(0);
    assert.deepEqual((await graph.run(batch)).pooled!.data, first.pooled!.data);
    await graph.close();
  });

  test('token ids of real text equal those of the reference tokenizer', async () => {
    const oracle = Tokenizer.fromString(await readFile(join(folder.dir, 'tokenizer.json'), 'utf8'));
    oracle.setTruncation(512);
    oracle.disablePadding();
    const texts = await realText();
    assert.ok(texts.length >= 300, `${texts.length} rows`);
    for (const text of texts) {
      const ids = [...(await oracle.encode(text)).getIds()];
      assert.deepEqual([...folder.tokenizer.encode(text, 512).ids], ids, text);
    }
  });
});

/** w + c v, with c [out, rank] and v [rank, width]. */
function plusProduct(
  w: Float32Array,
  c: ArrayLike<number>,
  v: Float32Array,
  rank: number,
  width: number,
): Float32Array {
  return w.map((start, at) => {
    const [o, i] = [Math.floor(at / width), at % width];
    let sum = start;
    for (let r = 0; r < rank; r++) sum += c[o * rank + r]! * v[r * width + i]!;
    return sum;
  });
}

/** Four domains of the example, and cases that tokenizers get wrong. */
async function realText(): Promise<string[]> {
  const data = join(import.meta.dirname, '..', '..', 'examples', 'sentiment', 'data');
  const files = ['movies-64', 'products-64', 'news-64', 'tweets-64', 'calibration'];
  const texts = await Promise.all(files.map((name) => readFile(join(data, `${name}.jsonl`), 'utf8')));
  const rows = texts.flatMap((text) => text.trimEnd().split('\n'));
  const hard = [
    '',
    ' ',
    'naïve café',
    '北京 is big',
    'x'.repeat(300),
    "can't\u00a0stop\ttoo",
    '[SEP] [MASK]',
    '👍🏽!!',
  ];
  return [...hard, ...rows.map((row) => (JSON.parse(row) as { text: string }).text)];
}
