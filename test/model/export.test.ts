import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { bertModel, gapShapes } from '../../worker/model/bert-model.ts';
import {
  exportOnnx,
  exportPeft,
  exportSafetensors,
  type Trained,
  writeFiles,
} from '../../worker/model/export.ts';
import { type ModelFolder, openModelFolder } from '../../worker/model/folder.ts';
import { mergeLowRank } from '../../worker/model/merge.ts';
import { readSafetensors } from '../../worker/model/safetensors.ts';
import type { TensorView } from '../../worker/model/tensor.ts';
import { missingPython, python } from './python.ts';
import { batchOf, distance, openGraph } from './session.ts';
import { randomTensor, TINY, writeTinyFolder } from './tiny.ts';

const root = await mkdtemp(join(tmpdir(), 'onebyte-export-'));
after(() => rm(root, { recursive: true }));

const RANK = 4;
const LABELS = ['negative', 'neutral', 'positive'];
const { hidden } = TINY;
const head = { weight: randomTensor([3, hidden], 50), bias: randomTensor([3], 51) };
const query = 'encoder.layer.1.attention.self.query';
const down = 'encoder.layer.2.output.dense';
const factors = new Map([
  [query, { a: randomTensor([RANK, hidden], 60), b: randomTensor([hidden, RANK], 61) }],
  [down, { a: randomTensor([RANK, TINY.intermediate], 62), b: randomTensor([hidden, RANK], 63) }],
]);
const adapted: Trained = {
  weights: new Map(),
  head: { ...head, labels: LABELS },
  pooling: 'mean',
  adapters: { rank: RANK, alpha: 8, factors },
};
const rows = [
  [2, 5, 6, 7, 3],
  [2, 9, 13, 3],
];

let folder: ModelFolder;
before(async () => {
  const base = join(root, 'base');
  await writeTinyFolder(base);
  folder = await openModelFolder(base);
});

/** Logits by the engine's own graph, adapters unmerged. */
async function expectedLogits(): Promise<Float32Array> {
  const graph = await openGraph(
    folder.model.graph({
      from: 'ids',
      to: 'logits',
      pooling: 'mean',
      labels: 3,
      head,
      adapters: { type: 'lora', rank: RANK, alpha: 8, matrices: [...factors.keys()] },
    }),
  );
  const lead = ({ dims, data }: TensorView) => ({ dims: [1, ...dims], data });
  const inputs = [...factors].flatMap(([name, { a, b }]) => [
    [`${name}.A`, lead(a)],
    [`${name}.B`, lead(b)],
  ]);
  const { logits } = await graph.run({ ...batchOf(rows), ...Object.fromEntries(inputs) });
  await graph.close();
  return logits!.data as Float32Array;
}

test('a merged weight is W + s B A', () => {
  const weight = randomTensor([3, 5], 1);
  const b = randomTensor([3, 2], 2);
  const a = randomTensor([2, 5], 3);
  const wanted = weight.data.map((w, at) => {
    const [o, i] = [Math.floor(at / 5), at % 5];
    return w + 0.5 * (b.data[o * 2]! * a.data[i]! + b.data[o * 2 + 1]! * a.data[5 + i]!);
  });
  assert.ok(distance(mergeLowRank(weight, b, a, 0.5).data, wanted) < 1e-6);
});

test('an exported folder opens again as the tuned model, with its head and labels', async () => {
  const dir = join(root, 'merged');
  await writeFiles(dir, await exportSafetensors(folder, adapted));
  const opened = await openModelFolder(dir);
  assert.deepEqual(opened.config.id2label, { 0: 'negative', 1: 'neutral', 2: 'positive' });
  const own = {
    weight: opened.model.weights.get('classifier.weight')!,
    bias: opened.model.weights.get('classifier.bias')!,
  };
  const graph = await openGraph(
    opened.model.graph({ from: 'ids', to: 'logits', pooling: 'mean', labels: 3, head: own }),
  );
  const { logits } = await graph.run(batchOf(rows));
  await graph.close();
  assert.ok(distance(logits!.data, await expectedLogits()) < 1e-5);
  assert.deepEqual(opened.digests.tokenizer, folder.digests.tokenizer);
  assert.deepEqual(
    (await readdir(dir)).filter((name) => name.startsWith('.')),
    [],
  );
});

test('an exported folder says that its weights are float32 in the field that the base has', async () => {
  const written = async (config: ModelFolder['config']) => {
    const files = await exportSafetensors({ ...folder, config }, adapted);
    const { torch_dtype: older, dtype } = JSON.parse(new TextDecoder().decode(files.get('config.json')));
    return [older, dtype];
  };
  assert.deepEqual(await written({ torch_dtype: 'bfloat16' }), ['float32', undefined]);
  assert.deepEqual(await written({ dtype: 'bfloat16' }), ['float32', 'float32']);
});

test('an encoder with the head of its pre-training is exported under the names that its own class reads', async () => {
  const dir = join(root, 'gaps');
  const head = [...gapShapes(TINY)].map(([name, dims], i) => [name, randomTensor(dims, 400 + i)] as const);
  const base = { ...folder, model: bertModel(TINY, new Map([...folder.model.weights, ...head])) };
  const files = await exportSafetensors(base, { ...adapted, head: null });
  const stored = readSafetensors(files.get('model.safetensors')!);
  const names = [...stored.keys()];
  assert.deepEqual(
    names.filter((name) => !name.startsWith('bert.')),
    [...gapShapes(TINY).keys()],
  );
  assert.ok(names.includes(`bert.${query}.weight`));
  await writeFiles(dir, files);
  const { model } = await openModelFolder(dir);
  assert.deepEqual([...model.weights.keys()], [...base.model.weights.keys()]);
});

test('an exported ONNX file stands alone and takes 64-bit ids', async () => {
  const dir = join(root, 'onnx');
  await writeFiles(dir, await exportOnnx(folder, adapted));
  const session = await InferenceSession.create(join(dir, 'model.onnx'), { logSeverityLevel: 3 });
  const batch = batchOf(rows);
  const feeds = ['input_ids', 'attention_mask'].map((name) => {
    const { dims, data } = batch[name]!;
    return [name, new Tensor('int64', BigInt64Array.from([...data].map(BigInt)), dims)] as const;
  });
  const { logits } = await session.run(Object.fromEntries(feeds));
  await session.release();
  assert.deepEqual(logits!.dims, [2, 3]);
  assert.ok(distance(logits!.data as Float32Array, await expectedLogits()) < 1e-5);
});

test('a run that changed whole weights is no PEFT adapter', () => {
  const { adapters: _, ...whole } = adapted;
  const changed = { ...adapted, weights: new Map([[`${down}.bias`, randomTensor([hidden], 1)]]) };
  for (const trained of [whole, changed]) {
    assert.throws(() => exportPeft(folder, trained, { name: 'tiny' }), { code: 'EXPORT_UNSUPPORTED' });
  }
});

const SUMS = `
import json, sys
from safetensors.numpy import load_file
print(json.dumps({k: [list(v.shape), str(v.dtype), v.astype('float64').ravel().tolist()] for k, v in load_file(sys.argv[1]).items()}))
`;

describe('readers of other makers', { skip: await missingPython() }, () => {
  type Read = Record<string, [number[], string, number[]]>;

  test('the safetensors package reads the merged model', async () => {
    const dir = join(root, 'merged-python');
    await writeFiles(dir, await exportSafetensors(folder, adapted));
    const read = (await python(SUMS, join(dir, 'model.safetensors'))) as Read;
    assert.deepEqual(Object.keys(read).length, folder.model.weights.size + 2);
    for (const [name, { dims, data }] of folder.model.weights) {
      const { a, b } = factors.get(name.replace(/\.weight$/, '')) ?? {};
      const wanted = a && b ? mergeLowRank({ dims, data }, b, a, 2).data : data;
      const [shape, dtype, values] = read[name]!;
      assert.deepEqual([shape, dtype], [dims, 'float32'], name);
      assert.equal(distance(values, wanted), 0, name);
    }
    assert.deepEqual(read['classifier.weight']![2], [...head.weight.data]);
    assert.deepEqual(read['classifier.bias']![0], [3]);
  });

  test('the safetensors package reads the adapter under the names that PEFT looks for', async () => {
    const dir = join(root, 'peft');
    await writeFiles(dir, exportPeft(folder, adapted, { name: 'tiny' }));
    const read = (await python(SUMS, join(dir, 'adapter_model.safetensors'))) as Read;
    assert.deepEqual(Object.keys(read).sort(), [
      `base_model.model.${query}.lora_A.weight`,
      `base_model.model.${query}.lora_B.weight`,
      `base_model.model.${down}.lora_A.weight`,
      `base_model.model.${down}.lora_B.weight`,
    ]);
    const config = JSON.parse(await readFile(join(dir, 'adapter_config.json'), 'utf8'));
    assert.deepEqual(
      [config.peft_type, config.r, config.lora_alpha, config.target_modules],
      ['LORA', RANK, 8, [query, down]],
    );
    for (const [name, { a, b }] of factors) {
      const [shapeA, , valuesA] = read[`base_model.model.${name}.lora_A.weight`]!;
      assert.deepEqual([shapeA, valuesA], [a.dims, [...a.data]]);
      const [shapeB, , valuesB] = read[`base_model.model.${name}.lora_B.weight`]!;
      assert.deepEqual([shapeB, valuesB], [b.dims, [...b.data]]);
    }
  });

  test('the onnx package checks the file and finds its ports', async () => {
    const dir = join(root, 'onnx-python');
    await writeFiles(dir, await exportOnnx(folder, adapted));
    const script = `
import json, onnx, sys
model = onnx.load(sys.argv[1])
onnx.checker.check_model(model, full_check=True)
ports = lambda values: [[v.name, v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]] for v in values]
print(json.dumps([ports(model.graph.input), ports(model.graph.output)]))
`;
    assert.deepEqual(await python(script, join(dir, 'model.onnx')), [
      [
        ['input_ids', 7, ['examples', 'tokens']],
        ['attention_mask', 7, ['examples', 'tokens']],
      ],
      [['logits', 1, ['examples', 3]]],
    ]);
  });
});
