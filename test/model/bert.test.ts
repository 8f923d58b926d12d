import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { buildBertGraph } from '../../worker/model/bert.ts';
import { bertMatrices } from '../../worker/model/bert-model.ts';
import type { BuiltGraph, GraphOptions } from '../../worker/model/graph.ts';
import type { TensorView, Weights } from '../../worker/model/tensor.ts';
import { ReferenceBert, referenceLoss } from './reference.ts';
import { batchOf, distance, type GraphRun, openGraph, type Value } from './session.ts';
import { random, randomTensor, TINY, tinyWeights } from './tiny.ts';

const weights: Weights = tinyWeights();
const reference = new ReferenceBert(TINY, weights);
const rows = [
  [2, 5, 6, 7, 3],
  [2, 9, 3],
  [2, 10, 11, 12, 13, 14, 20, 3],
  [2, 39, 3],
];
const batch = batchOf(rows);
const labels = { dims: [4], data: Int32Array.of(0, 2, 1, 2) };
const tokens = 8;
const PROBES = 3;
const LABELS = 3;
const { hidden } = TINY;
const head = {
  weight: randomTensor([PROBES, LABELS, hidden], 77),
  bias: randomTensor([PROBES, LABELS], 78),
};

const open: GraphRun[] = [];
after(async () => {
  for (const session of open) await session.close();
});

type Options = Partial<GraphOptions> & Pick<GraphOptions, 'from' | 'to'>;

function build(options: Options): BuiltGraph {
  return buildBertGraph(TINY, { weights, hidden, pooling: 'mean', labels: LABELS, ...options });
}

async function run(options: Options, feeds: Record<string, Value> = {}): Promise<Record<string, Value>> {
  const session = await openGraph(build(options));
  open.push(session);
  return session.run({
    ...batch,
    labels,
    'head.weight': head.weight,
    'head.bias': head.bias,
    ...feeds,
  });
}

/** One probe's part of a value with a leading probes axis. */
function probe(value: Value, p: number): Value {
  const size = value.data.length / value.dims[0]!;
  return { dims: [1, ...value.dims.slice(1)], data: value.data.slice(p * size, (p + 1) * size) };
}

function product(a: TensorView, b: TensorView, scale = 1): Float32Array {
  const [out, rank] = a.dims as [number, number];
  const width = b.dims[1]!;
  return Float32Array.from({ length: out * width }, (_, at) => {
    const [o, i] = [Math.floor(at / width), at % width];
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += a.data[o * rank + r]! * b.data[r * width + i]!;
    return sum * scale;
  });
}

/** Weights with every adapter of one probe merged in. */
function merged(
  adapters: NonNullable<GraphOptions['adapters']>,
  feeds: Record<string, Value>,
  p: number,
): Weights {
  const changed = new Map(weights);
  const names = adapters.type === 'lora' ? adapters.matrices : [...adapters.bases.keys()];
  for (const name of names) {
    const one = (key: string): TensorView => {
      const { dims, data } = probe(feeds[`${name}.${key}`]!, p);
      return { dims: dims.slice(1), data: data as Float32Array };
    };
    const added =
      adapters.type === 'lora'
        ? product(one('B'), one('A'), adapters.alpha / adapters.rank)
        : product(one('C'), adapters.bases.get(name)!);
    const { dims, data } = weights.get(`${name}.weight`)!;
    changed.set(`${name}.weight`, { dims, data: data.map((w, i) => w + added[i]!) });
  }
  return changed;
}

const RANK = 4;

/** Adapters on the chosen matrices and random factors for every probe. */
function adaptersOn(type: 'subspace' | 'lora', names: readonly string[], scale = 0.5) {
  const feeds: Record<string, Value> = {};
  const bases = new Map<string, TensorView>();
  let seed = 100;
  for (const { name, out, in: width } of bertMatrices(TINY).filter((m) => names.includes(m.name))) {
    bases.set(name, randomTensor([RANK, width], seed++, 0.5));
    feeds[`${name}.C`] = feeds[`${name}.B`] = randomTensor([PROBES, out, RANK], seed++, scale);
    feeds[`${name}.A`] = randomTensor([PROBES, RANK, width], seed++, 0.5);
  }
  const adapters: NonNullable<GraphOptions['adapters']> =
    type === 'subspace'
      ? { type, rank: RANK, bases }
      : { type, rank: RANK, alpha: 6, matrices: [...bases.keys()] };
  return { adapters, feeds };
}

const everyMatrix = bertMatrices(TINY).map((m) => m.name);

test('hidden states of every layer are those of the plain forward pass', async () => {
  const expected = rows.map((ids) => reference.hidden(ids));
  for (let layer = 0; layer <= TINY.layers; layer++) {
    const { hidden_out: out } = await run({ from: 'ids', to: { layer } });
    assert.deepEqual(out!.dims, [4, tokens, hidden]);
    rows.forEach((ids, i) => {
      const at = i * tokens * hidden;
      const seen = out!.data.subarray(at, at + ids.length * hidden);
      const wanted = expected[i]![layer]!.flatMap((row) => [...row]);
      assert.ok(distance(seen, wanted) < 1e-5, `layer ${layer} example ${i}: ${distance(seen, wanted)}`);
    });
  }
});

test('features are pooled over the tokens that are there', async () => {
  for (const pooling of ['mean', 'cls'] as const) {
    const { pooled } = await run({ from: 'ids', to: 'pooled', pooling });
    assert.deepEqual(pooled!.dims, [4, hidden]);
    const wanted = rows.flatMap((ids) => [...reference.pooled(ids, pooling)]);
    assert.ok(distance(pooled!.data, wanted) < 1e-5);
  }
});

test('losses and hits are those of each probe head', async () => {
  const { loss, correct } = await run({ from: 'ids', to: 'loss' });
  const { logits } = await run({ from: 'ids', to: 'logits' });
  assert.deepEqual(loss!.dims, [PROBES, 4]);
  assert.deepEqual(logits!.dims, [PROBES, 4, LABELS]);
  for (let p = 0; p < PROBES; p++) {
    const weight = probe(head.weight, p).data as Float32Array;
    const bias = probe(head.bias, p).data as Float32Array;
    rows.forEach((ids, i) => {
      const label = labels.data[i]!;
      const wanted = referenceLoss(reference.pooled(ids, 'mean'), weight, bias, label);
      assert.ok(Math.abs(loss!.data[p * 4 + i]! - wanted) < 1e-5);
      const at = (p * 4 + i) * LABELS;
      const scores = [...logits!.data.subarray(at, at + LABELS)];
      assert.equal(correct!.data[p * 4 + i], scores.indexOf(Math.max(...scores)) === label ? 1 : 0);
    });
  }
});

test('a loss of very large logits is finite', async () => {
  const { loss } = await run(
    { from: 'ids', to: 'loss' },
    { 'head.weight': { dims: head.weight.dims, data: head.weight.data.map((x) => x * 1e4) } },
  );
  assert.ok(loss!.data.every((x) => Number.isFinite(x)));
});

test('a graph from any layer continues where the one to it ended', async () => {
  const whole = await run({ from: 'ids', to: 'loss' });
  for (let from = 0; from <= TINY.layers; from++) {
    const { hidden_out } = await run({ from: 'ids', to: { layer: from } });
    const rest = await run({ from, to: 'loss' }, { hidden: hidden_out! });
    assert.ok(distance(rest.loss!.data, whole.loss!.data) < 1e-6);
  }
  const { pooled } = await run({ from: 'ids', to: 'pooled' });
  const rest = await run({ from: 'pooled', to: 'loss' }, { pooled: pooled! });
  assert.ok(distance(rest.loss!.data, whole.loss!.data) < 1e-6);
  assert.deepEqual(rest.correct, whole.correct);
});

test('weights as inputs give what frozen weights give', async () => {
  const inputs = new Set(weights.keys());
  const feeds = Object.fromEntries(weights);
  const graph = build({ from: 'ids', to: 'loss', inputs });
  assert.deepEqual(graph.initializers, []);
  const frozen = await run({ from: 'ids', to: 'loss' });
  const fed = await run({ from: 'ids', to: 'loss', inputs }, feeds);
  assert.ok(distance(fed.loss!.data, frozen.loss!.data) < 1e-6);
});

for (const type of ['subspace', 'lora'] as const) {
  test(`${type} adapters of zero change nothing`, async () => {
    const { adapters, feeds } = adaptersOn(type, everyMatrix, 0);
    const plain = await run({ from: 'ids', to: 'loss' });
    const adapted = await run({ from: 'ids', to: 'loss', adapters }, feeds);
    assert.ok(distance(adapted.loss!.data, plain.loss!.data) < 1e-6);
  });

  test(`${type} adapters on every matrix equal the merged weights, probe by probe`, async () => {
    const { adapters, feeds } = adaptersOn(type, everyMatrix);
    const { hidden_out } = await run({ from: 'ids', to: { layer: TINY.layers }, adapters }, feeds);
    const { loss } = await run({ from: 'ids', to: 'loss', adapters }, feeds);
    assert.deepEqual(hidden_out!.dims, [PROBES, 4, tokens, hidden]);
    for (let p = 0; p < PROBES; p++) {
      const own = new ReferenceBert(TINY, merged(adapters, feeds, p));
      rows.forEach((ids, i) => {
        const wanted = own
          .hidden(ids)
          .at(-1)!
          .flatMap((row) => [...row]);
        const at = (p * 4 + i) * tokens * hidden;
        assert.ok(distance(hidden_out!.data.subarray(at, at + wanted.length), wanted) < 2e-5);
        const weight = probe(head.weight, p).data as Float32Array;
        const bias = probe(head.bias, p).data as Float32Array;
        const lost = referenceLoss(own.pooled(ids, 'mean'), weight, bias, labels.data[i]!);
        assert.ok(Math.abs(loss!.data[p * 4 + i]! - lost) < 2e-5);
      });
    }
  });

  test(`${type} adapters on one matrix alone, and probes one by one, give the same`, async () => {
    for (const { name, layer } of bertMatrices(TINY).filter((m) => m.layer > 0)) {
      const { adapters, feeds } = adaptersOn(type, [name]);
      const { hidden_out } = await run({ from: 'ids', to: { layer: 1 } });
      const whole = await run({ from: 'ids', to: 'loss', adapters }, feeds);
      const rest = await run({ from: 1, to: 'loss', adapters }, { ...feeds, hidden: hidden_out! });
      assert.ok(distance(rest.loss!.data, whole.loss!.data) < 2e-6, name);
      const session = await openGraph(build({ from: 'ids', to: 'loss', adapters }));
      for (let p = 0; p < PROBES; p++) {
        const parts = { ...feeds, 'head.weight': head.weight, 'head.bias': head.bias };
        const one = Object.entries(parts).map(([key, value]) => [key, probe(value, p)] as const);
        const alone = await session.run({ ...batch, labels, ...Object.fromEntries(one) });
        assert.ok(distance(alone.loss!.data, probe(whole.loss!, p).data) < 2e-6, `${name} ${layer}`);
      }
      await session.close();
    }
  });
}

test('adapters below the graph do not ask for inputs', () => {
  const { adapters } = adaptersOn('lora', everyMatrix);
  const graph = build({ from: 2, to: 'loss', adapters });
  assert.ok(graph.inputs.every(({ name }) => !name.startsWith('encoder.layer.1.')));
  assert.ok(graph.inputs.some(({ name }) => name === 'encoder.layer.2.output.dense.A'));
});

test('matrices with the same input and basis multiply by it once', () => {
  const shared = randomTensor([RANK, hidden], 5);
  const matrices = bertMatrices(TINY).filter((m) => m.layer === 0);
  const names = matrices.filter((m) => ['query', 'key', 'value'].includes(m.kind)).map((m) => m.name);
  const bases = new Map(names.map((name) => [name, shared]));
  const graph = build({ from: 'ids', to: 'loss', adapters: { type: 'subspace', rank: RANK, bases } });
  assert.equal(graph.initializers.filter((name) => name.endsWith('.V')).length, 1);
});

test('second moments of the inputs leave padding out', async () => {
  const moments = everyMatrix.filter((name) => name.startsWith('encoder.layer.1.'));
  const out = await run({ from: 'ids', to: { layer: TINY.layers }, moments });
  const inputs = rows.flatMap((ids) => reference.hidden(ids)[1]!);
  const wanted = Float64Array.from({ length: hidden * hidden }, (_, at) =>
    inputs.reduce((sum, x) => sum + x[Math.floor(at / hidden)]! * x[at % hidden]!, 0),
  );
  for (const kind of ['query', 'key', 'value']) {
    const { dims, data } = out[`encoder.layer.1.attention.self.${kind}.moment`]!;
    assert.deepEqual(dims, [hidden, hidden]);
    assert.ok(distance(data, wanted) < 1e-3);
  }
  assert.deepEqual(out['encoder.layer.1.output.dense.moment']!.dims, [TINY.intermediate, TINY.intermediate]);
});

test('a frozen head needs no probes axis', async () => {
  const frozen = {
    weight: { dims: [LABELS, hidden], data: random(LABELS * hidden, 3) },
    bias: { dims: [LABELS], data: random(LABELS, 4) },
  };
  const { logits } = await run({ from: 'ids', to: 'logits', head: frozen });
  assert.deepEqual(logits!.dims, [4, LABELS]);
  const { loss } = await run({ from: 'ids', to: 'loss', head: frozen });
  const wanted = rows.map((ids, i) =>
    referenceLoss(reference.pooled(ids, 'mean'), frozen.weight.data, frozen.bias.data, labels.data[i]!),
  );
  assert.ok(distance(loss!.data, wanted) < 1e-5);
});

test('a graph that names a missing tensor is refused', () => {
  const some = new Map(weights);
  some.delete('encoder.layer.1.output.dense.weight');
  assert.throws(() => build({ from: 'ids', to: 'loss', weights: some }), { code: 'MODEL_TENSOR_MISSING' });
});
