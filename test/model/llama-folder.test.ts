import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { resolveModel } from '../../worker/data/cache.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { readLlamaConfig, ropeFrequencies } from '../../worker/model/llama-config.ts';
import { writeSafetensors } from '../../worker/model/safetensors.ts';
import type { TensorView } from '../../worker/model/tensor.ts';
import { MEMBERS, memberConfig, memberWeights, writeMember } from './tiny-llama.ts';

const root = await mkdtemp(join(tmpdir(), 'onebyte-llama-'));
after(() => rm(root, { recursive: true }));
let count = 0;
const place = () => join(root, String(count++));

type Weights = ReadonlyMap<string, TensorView>;

/** A safetensors file of 16-bit numbers: the upper half of each float, or the nearest half. */
function halves(weights: Weights, dtype: 'BF16' | 'F16'): Uint8Array {
  const header: Record<string, object> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, { dims, data }] of weights) {
    const words =
      dtype === 'F16'
        ? new Uint16Array(new Float16Array(data).buffer)
        : Uint16Array.from(new Uint32Array(data.slice().buffer), (bits) => bits >>> 16);
    header[name] = { dtype, shape: dims, data_offsets: [at, at + 2 * words.length] };
    at += 2 * words.length;
    parts.push(new Uint8Array(words.buffer));
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return Buffer.concat([length, json, ...parts]);
}

for (const dtype of ['BF16', 'F16'] as const) {
  test(`weights in ${dtype} open widened exactly`, async () => {
    const dir = place();
    await writeMember(dir, 'qwen3', (weights) => ({ 'model.safetensors': halves(weights, dtype) }));
    const { model } = await openModelFolder(dir);
    for (const [name, { data }] of memberWeights('qwen3')) {
      const expected =
        dtype === 'F16'
          ? Float32Array.from(new Float16Array(data))
          : new Float32Array(Uint32Array.from(new Uint32Array(data.buffer), (b) => b & 0xffff0000).buffer);
      assert.deepEqual(model.weights.get(name)!.data, expected, name);
    }
  });
}

/** Two files and their index. */
function sharded(weights: Weights): Record<string, string | Uint8Array> {
  const all = [...weights];
  const parts = [all.slice(0, 7), all.slice(7)];
  const names = parts.map((_, i) => `model-0000${i + 1}-of-00002.safetensors`);
  const map = parts.flatMap((part, i) => part.map(([name]) => [name, names[i]]));
  return {
    'model.safetensors.index.json': JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(map) }),
    ...Object.fromEntries(parts.map((part, i) => [names[i], writeSafetensors(new Map(part))])),
  };
}

test('weights in several files open as one, with the digest of what sha256sum prints of them', async () => {
  const dir = place();
  await writeMember(dir, 'mistral', sharded);
  const { model, digests } = await openModelFolder(dir);
  const expected = memberWeights('mistral');
  for (const [name, { data }] of expected) assert.deepEqual(model.weights.get(name)!.data, data, name);
  const sha256 = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');
  const list = Object.entries(sharded(expected)).filter(([name]) => name.endsWith('.safetensors'));
  assert.equal(digests.weights, sha256(list.map(([name, bytes]) => `${sha256(bytes)}  ${name}\n`).join('')));
});

test('a job may name a folder with its weights in several files, by the same digest', async () => {
  const dir = place();
  await writeMember(dir, 'llama', sharded);
  const { digests } = await openModelFolder(dir);
  const model = { uri: dir, sha256: digests.weights };
  assert.equal(await resolveModel(model, { folder: root }), dir);
  await assert.rejects(resolveModel({ ...model, sha256: '0'.repeat(64) }, { folder: root }), {
    code: 'DIGEST_MISMATCH',
  });
  const absent = 'model-00001-of-00002.safetensors';
  await rm(join(dir, absent));
  await assert.rejects(resolveModel(model, { folder: root }), { code: 'MODEL_FILE_MISSING', field: absent });
});

test('an index that is none, leads out of the folder, or names a missing or doubled part is refused', async () => {
  const index = 'model.safetensors.index.json';
  const wrong: [string, string][] = [
    ['{', 'MODEL_FILE_INVALID'],
    ['{}', 'MODEL_FILE_INVALID'],
    ['null', 'MODEL_FILE_INVALID'],
    ['{"weight_map": {}}', 'MODEL_FILE_INVALID'],
    ['{"weight_map": {"a": "../x.safetensors"}}', 'MODEL_FILE_INVALID'],
    ['{"weight_map": {"a": 7}}', 'MODEL_FILE_INVALID'],
    ['{"weight_map": {"a": "absent.safetensors"}}', 'MODEL_FILE_MISSING'],
  ];
  for (const [content, code] of wrong) {
    const dir = place();
    await writeMember(dir, 'llama', (weights) => ({ ...sharded(weights), [index]: content }));
    await assert.rejects(openModelFolder(dir), { code }, content);
  }
  const dir = place();
  await writeMember(dir, 'llama', sharded);
  await writeFile(join(dir, 'model-00002-of-00002.safetensors'), writeSafetensors(memberWeights('llama')));
  await assert.rejects(openModelFolder(dir), { code: 'MODEL_FILE_INVALID' });
});

test('missing tensors and wrong shapes are refused by name', async () => {
  const name = 'model.layers.1.mlp.gate_proj.weight';
  const less = place();
  await writeMember(less, 'llama', (weights) => {
    const left = new Map(weights);
    left.delete(name);
    return { 'model.safetensors': writeSafetensors(left) };
  });
  await assert.rejects(openModelFolder(less), { code: 'MODEL_TENSOR_MISSING', field: name });
  const turned = place();
  await writeMember(turned, 'llama', (weights) => {
    const { dims, data } = weights.get(name)!;
    return {
      'model.safetensors': writeSafetensors(new Map([...weights, [name, { dims: dims.toReversed(), data }]])),
    };
  });
  await assert.rejects(openModelFolder(turned), { code: 'MODEL_CONFIG_INVALID', field: name });
});

test('a configuration that the graph does not cover is refused by field', () => {
  const wrong: [object, string][] = [
    [{ hidden_act: 'gelu' }, 'hidden_act'],
    [{ mlp_bias: true }, 'mlp_bias'],
    [{ num_key_value_heads: 3 }, 'num_key_value_heads'],
    [{ hidden_size: 66 }, 'hidden_size'],
    [{ head_dim: 24 }, 'head_dim'],
    [{ rms_norm_eps: 0 }, 'rms_norm_eps'],
    [{ rope_theta: -1 }, 'rope_scaling.rope_theta'],
    [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
    [{ rope_scaling: { rope_type: 'yarn', factor: 4 } }, 'rope_scaling.rope_type'],
    [{ rope_scaling: { type: 'linear' } }, 'rope_scaling.factor'],
    [{ rope_parameters: { rope_type: 'dynamic' } }, 'rope_parameters.rope_type'],
    [{ rope_scaling: 7 }, 'rope_scaling'],
  ];
  for (const [changes, field] of wrong) {
    assert.throws(() => readLlamaConfig({ ...MEMBERS.llama, ...changes }), {
      code: 'MODEL_CONFIG_INVALID',
      field: `config.json:${field}`,
    });
  }
  assert.throws(() => readLlamaConfig({ ...MEMBERS.llama, rope_scaling: { rope_type: 'yarn' } }), {
    message: /"yarn"; known: default, linear, llama3/,
  });
});

test('a window shortens the longest text, and older and newer files say the same of positions', () => {
  assert.equal(memberConfig('mistral').positions, 32);
  assert.equal(memberConfig('qwen2').positions, 64);
  const { rope_theta: _, rope_scaling, ...rest } = MEMBERS.llama3!;
  const newer = readLlamaConfig({
    ...rest,
    rope_parameters: { rope_theta: 10000, ...(rope_scaling as object) },
  });
  assert.deepEqual(newer, memberConfig('llama3'));
  const plain = ropeFrequencies(memberConfig('llama'));
  assert.deepEqual(
    ropeFrequencies(memberConfig('linear')),
    plain.map((f) => f / 4),
  );
});
