import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openModelFolder } from '../../worker/model/folder.ts';
import { writeSafetensors } from '../../worker/model/safetensors.ts';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { TINY, tinyConfig, tinyTokenizer, tinyWeights, writeTinyFolder } from './tiny.ts';

const root = await mkdtemp(join(tmpdir(), 'onebyte-folder-'));
after(() => rm(root, { recursive: true }));
let count = 0;

/** A folder of its own for each case, with some files replaced. */
async function folder(files: Record<string, string | Uint8Array | undefined> = {}): Promise<string> {
  const dir = join(root, String(count++));
  await writeTinyFolder(dir);
  for (const [file, content] of Object.entries(files)) {
    if (content === undefined) await rm(join(dir, file));
    else await writeFile(join(dir, file), content);
  }
  return dir;
}

const config = (changes: object): string => JSON.stringify({ ...tinyConfig(), ...changes });

test('a folder opens into a model whose matrices are named, in order', async () => {
  const { model, digests, tokenizer } = await openModelFolder(await folder());
  assert.equal(model.family, 'bert');
  assert.equal(model.layers, TINY.layers);
  assert.equal(model.maxTokens, TINY.positions);
  assert.equal(model.matrices.length, 6 * TINY.layers);
  assert.deepEqual(model.matrices[10], {
    name: 'encoder.layer.1.intermediate.dense',
    layer: 1,
    kind: 'up',
    out: TINY.intermediate,
    in: TINY.hidden,
  });
  assert.match(digests.weights, /^[0-9a-f]{64}$/);
  assert.match(digests.tokenizer, /^[0-9a-f]{64}$/);
  assert.equal(tokenizer.vocabulary, 14);
});

test('weights stored under the prefix of a task model open to the same names', async () => {
  const dir = join(root, 'prefixed');
  await writeTinyFolder(dir, (name) => `bert.${name}`);
  const { model } = await openModelFolder(dir);
  const expected = tinyWeights();
  assert.deepEqual([...model.weights.keys()], [...expected.keys()]);
  const name = 'encoder.layer.2.output.dense.weight';
  assert.deepEqual([...model.weights.get(name)!.data], [...expected.get(name)!.data]);
});

test('norms stored under the names of the oldest files open to those of newer ones', async () => {
  const dir = join(root, 'oldest');
  const old = (name: string) =>
    `bert.${name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}`;
  await writeTinyFolder(dir, old);
  const { model } = await openModelFolder(dir);
  assert.deepEqual([...model.weights.keys()], [...tinyWeights().keys()]);
});

test('replaced weights leave the model as it was', async () => {
  const { model } = await openModelFolder(await folder());
  const name = 'encoder.layer.0.output.dense.bias';
  const changed = model.withWeights(
    new Map([[name, { dims: [TINY.hidden], data: new Float32Array(TINY.hidden) }]]),
  );
  assert.ok(changed.get(name)!.data.every((x) => x === 0));
  assert.ok(model.weights.get(name)!.data.some((x) => x !== 0));
  assert.equal(changed.size, model.weights.size);
});

test('an unknown family is refused by name, with the known ones', async () => {
  for (const type of ['roberta', undefined, 7, '__proto__']) {
    const dir = await folder({ 'config.json': config({ model_type: type }) });
    await assert.rejects(openModelFolder(dir), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'MODEL_FAMILY_UNKNOWN');
      assert.ok(error.message.includes('known: bert'));
      return true;
    });
  }
});

test('a configuration that the graph does not cover is refused by field', async () => {
  const wrong: [object, string][] = [
    [{ hidden_size: 0 }, 'hidden_size'],
    [{ hidden_size: 33 }, 'hidden_size'],
    [{ num_hidden_layers: '3' }, 'num_hidden_layers'],
    [{ num_attention_heads: 1.5 }, 'num_attention_heads'],
    [{ hidden_act: 'swish' }, 'hidden_act'],
    [{ layer_norm_eps: -1 }, 'layer_norm_eps'],
    [{ position_embedding_type: 'relative_key' }, 'position_embedding_type'],
    [{ vocab_size: null }, 'vocab_size'],
  ];
  for (const [changes, field] of wrong) {
    const dir = await folder({ 'config.json': config(changes) });
    await assert.rejects(openModelFolder(dir), {
      code: 'MODEL_CONFIG_INVALID',
      field: `config.json:${field}`,
    });
  }
});

test('missing and broken files are named', async () => {
  for (const file of ['config.json', 'model.safetensors', 'tokenizer.json']) {
    const dir = await folder({ [file]: undefined });
    await assert.rejects(openModelFolder(dir), { code: 'MODEL_FILE_MISSING', field: file });
  }
  for (const content of ['{', '[]', 'null', '']) {
    await assert.rejects(openModelFolder(await folder({ 'config.json': content })), {
      code: 'MODEL_CONFIG_INVALID',
      field: 'config.json',
    });
    await assert.rejects(openModelFolder(await folder({ 'tokenizer.json': content })), {
      code: 'MODEL_CONFIG_INVALID',
      field: 'tokenizer.json',
    });
  }
  const cut = (await readFile(join(await folder(), 'model.safetensors'))).subarray(0, 5000);
  await assert.rejects(openModelFolder(await folder({ 'model.safetensors': cut })), {
    code: 'MODEL_FILE_INVALID',
  });
});

test('weights that do not fit the configuration are refused by tensor', async () => {
  const name = 'encoder.layer.2.intermediate.dense.weight';
  const without = tinyWeights();
  without.delete(name);
  await assert.rejects(openModelFolder(await folder({ 'model.safetensors': writeSafetensors(without) })), {
    code: 'MODEL_TENSOR_MISSING',
    field: name,
  });
  const turned = tinyWeights();
  turned.set(name, { dims: [TINY.hidden, TINY.intermediate], data: turned.get(name)!.data });
  await assert.rejects(openModelFolder(await folder({ 'model.safetensors': writeSafetensors(turned) })), {
    code: 'MODEL_CONFIG_INVALID',
    field: name,
  });
});

test('a tokenizer that does not fit the vocabulary is refused', async () => {
  const small = { ...TINY, vocabulary: 10 };
  const dir = await folder({
    'config.json': JSON.stringify(tinyConfig(small)),
    'model.safetensors': writeSafetensors(tinyWeights(small)),
  });
  await assert.rejects(openModelFolder(dir), { code: 'MODEL_CONFIG_INVALID', field: 'tokenizer.json' });
  const broken = JSON.stringify({ ...tinyTokenizer(), model: { type: 'Nothing' } });
  await assert.rejects(openModelFolder(await folder({ 'tokenizer.json': broken })), {
    code: 'MODEL_CONFIG_INVALID',
    field: 'tokenizer.json',
  });
});

test('a text that is too long is cut before its closing token', () => {
  const tokenizer = openTokenizer(tinyTokenizer(), {});
  const whole = tokenizer.encode('It was not a very good film', 16);
  assert.deepEqual([...whole.ids], [2, 9, 8, 11, 6, 12, 4, 7, 3]);
  assert.equal(whole.truncated, false);
  const cut = tokenizer.encode('It was not a very good film', 5);
  assert.deepEqual([...cut.ids], [2, 9, 8, 11, 3]);
  assert.equal(cut.truncated, true);
  assert.deepEqual([...tokenizer.encode('', 5).ids], [2, 3]);
  assert.equal(tokenizer.padId, 0);
});

test('truncation and padding that a tokenizer.json asks for are ours to do', () => {
  const json = {
    ...tinyTokenizer(),
    truncation: { max_length: 4, strategy: 'LongestFirst', stride: 0 },
    padding: { strategy: { Fixed: 12 }, direction: 'Right', pad_id: 0, pad_type_id: 0, pad_token: '[PAD]' },
  };
  assert.deepEqual([...openTokenizer(json, {}).encode('it was a good film', 16).ids], [2, 9, 8, 6, 4, 7, 3]);
});
