import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Trained } from '../../../worker/model/export.ts';
import { type ModelFolder, openModelFolder } from '../../../worker/model/folder.ts';
import { exportGguf } from '../../../worker/model/gguf/export.ts';
import { openGguf } from '../../../worker/model/gguf/source.ts';
import { preOf } from '../../../worker/model/gguf/tokenizer.ts';
import { mergeLowRank } from '../../../worker/model/merge.ts';
import { writeSafetensors } from '../../../worker/model/safetensors.ts';
import { loadWeights } from '../../../worker/model/source.ts';
import { memberWeights, writeMember } from '../tiny-llama.ts';
import { numbers, writeTiny } from './tiny.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-gguf-export-'));
after(() => rmSync(root, { recursive: true }));

/** LoRA factors on query and down of every layer, far from zero. */
function trained({ model }: ModelFolder, size: number): Trained {
  const random = numbers(11);
  const matrices = model.matrices.filter(({ kind }) => kind === 'query' || kind === 'down');
  const some = (rows: number, width: number) => ({
    dims: [rows, width],
    data: Float32Array.from({ length: rows * width }, () => size * (random() - 0.5)),
  });
  const factors = new Map(matrices.map((m) => [m.name, { a: some(2, m.in), b: some(m.out, 2) }]));
  return { weights: new Map(), head: null, pooling: 'mean', adapters: { rank: 2, alpha: 4, factors } };
}

async function exported(folder: ModelFolder, run: Trained, type: 'F16' | 'F32'): Promise<string> {
  const files = await exportGguf(folder, run, type);
  const path = join(root, `${type}-${crypto.randomUUID()}.gguf`);
  writeFileSync(path, files.get('model.gguf')!);
  return path;
}

test('what was exported is read again: weights with the adapters merged, configuration, tokenizer', async () => {
  const folder = await openModelFolder(writeTiny(join(root, 'base.gguf'), 'Q8_0'));
  const run = trained(folder, 0.2);
  const again = await openGguf(await exported(folder, run, 'F32'));
  const { weights } = await loadWeights(again.source);
  for (const [name, view] of folder.model.weights) {
    const factors = run.adapters!.factors.get(name.replace(/\.weight$/, ''));
    const expected = factors === undefined ? view : mergeLowRank(view, factors.b, factors.a, 2);
    assert.deepEqual(weights.get(name)!.data, expected.data, name);
  }
  assert.equal(weights.size, folder.model.weights.size);
  const without = ({ architectures, head_dim, pad_token_id, ...rest }: Record<string, unknown>) => rest;
  assert.deepEqual(without(again.config), without(folder.config));
  assert.deepEqual(again.tokenizer, (await openGguf(folder.dir)).tokenizer);
  const half = await loadWeights((await openGguf(await exported(folder, run, 'F16'))).source);
  for (const [name, { data }] of half.weights)
    if (name.endsWith('up_proj.weight'))
      assert.deepEqual(data, Float32Array.from(Float16Array.from(weights.get(name)!.data)));
});

test('a copy of the embeddings that a file has as its head is not written beside the trained ones', async () => {
  const dir = join(root, 'tied');
  await writeMember(dir, 'tied', (weights) => {
    const copy = weights.get('model.embed_tokens.weight')!;
    return { 'model.safetensors': writeSafetensors(new Map([...weights, ['lm_head.weight', copy]])) };
  });
  const folder = await openModelFolder(dir);
  const { weights } = await loadWeights(
    (await openGguf(await exported(folder, trained(folder, 0.2), 'F32'))).source,
  );
  assert.deepEqual([...weights.keys()].sort(), [...memberWeights('tied').keys()].sort());
});

const BYTES = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true };
const steps = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });
const pattern = (Regex: string) => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
});

test('a tokenizer is named as llama.cpp names it where that cuts text alike, and by no name else', () => {
  const digits = { type: 'Digits', individual_digits: true };
  const regex = { ...BYTES, use_regex: true };
  const plain = { ...BYTES, use_regex: false };
  const words = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}";
  const rest = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
  const known: [string | undefined, object][] = [
    ['gpt-2', { pre_tokenizer: regex }],
    ['smollm', { pre_tokenizer: steps(digits, regex) }],
    [
      'llama-bpe',
      { pre_tokenizer: steps(pattern(`${words}{1,3}${rest}`), plain), model: { ignore_merges: true } },
    ],
    ['qwen2', { pre_tokenizer: steps(pattern(words + rest), plain), normalizer: { type: 'NFC' } }],
    // Digits come first, or another pattern does, or every text gets a space in front, or no case.
    [undefined, { pre_tokenizer: steps(pattern('[\\r\\n]'), digits, plain) }],
    [
      undefined,
      { pre_tokenizer: steps(pattern(`x|${words}{1,3}${rest}`), plain), model: { ignore_merges: true } },
    ],
    [undefined, { pre_tokenizer: { ...regex, add_prefix_space: true } }],
    [undefined, { pre_tokenizer: regex, normalizer: { type: 'Lowercase' } }],
    [undefined, {}],
  ];
  for (const [name, json] of known) assert.equal(preOf({ ...json }), name, JSON.stringify(json));
});

test('a model with a head of its own, and one of another family, are refused', async () => {
  const folder = await openModelFolder(writeTiny(join(root, 'other.gguf'), 'Q8_0'));
  const view = { dims: [2], data: new Float32Array(2) };
  const head = { weight: view, bias: view, labels: ['a', 'b'] };
  const refused = { code: 'EXPORT_UNSUPPORTED' };
  await assert.rejects(exportGguf(folder, { ...trained(folder, 1), head }, 'F16'), refused);
  const bert = { ...folder, config: { ...folder.config, model_type: 'bert' } };
  await assert.rejects(exportGguf(bert, trained(folder, 1), 'F16'), refused);
});
