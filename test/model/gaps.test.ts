import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { bertModel, gapShapes } from '../../worker/model/bert-model.ts';
import { erf, ReferenceBert, softmax } from './reference.ts';
import { batchOf, distance, type GraphRun, openGraph } from './session.ts';
import { randomTensor, TINY, tinyWeights } from './tiny.ts';

let seed = 300;
const head = new Map([...gapShapes(TINY)].map(([name, dims]) => [name, randomTensor(dims, seed++, 0.4)]));
const weights = new Map([...tinyWeights(), ...head]);
const model = bertModel(TINY, weights);
const rows = [
  [2, 5, 1, 7, 3],
  [2, 9, 1, 12, 1, 14, 20, 3],
];
/** Where the gaps are, and what stood there. */
const gaps = [
  { row: 0, at: 2, token: 6 },
  { row: 1, at: 2, token: 11 },
  { row: 1, at: 4, token: 39 },
];
let open: GraphRun | undefined;
after(() => open?.close());

/** Loss of one gap, in plain doubles. */
function expected({ row, at, token }: (typeof gaps)[number]): number {
  const get = (name: string) => weights.get(name)!.data;
  const h = new ReferenceBert(TINY, weights).hidden(rows[row]!).at(-1)![at]!;
  const prefix = 'cls.predictions';
  const line = (w: Float32Array, b: Float32Array, x: ArrayLike<number>) =>
    Array.from(b, (bias, o) => {
      let sum = bias;
      for (let i = 0; i < x.length; i++) sum += w[o * x.length + i]! * x[i]!;
      return sum;
    });
  const dense = line(get(`${prefix}.transform.dense.weight`), get(`${prefix}.transform.dense.bias`), h);
  const active = dense.map((x) => (x * (1 + erf(x / Math.SQRT2))) / 2);
  const mean = active.reduce((a, b) => a + b) / active.length;
  const deviation = Math.sqrt(active.reduce((a, x) => a + (x - mean) ** 2, 0) / active.length + TINY.epsilon);
  const [gain, shift] = [
    get(`${prefix}.transform.LayerNorm.weight`),
    get(`${prefix}.transform.LayerNorm.bias`),
  ];
  const normed = active.map((x, i) => ((x - mean) / deviation) * gain[i]! + shift[i]!);
  const scores = line(get('embeddings.word_embeddings.weight'), get(`${prefix}.bias`), normed);
  return -Math.log(softmax(Float64Array.from(scores))[token]!);
}

test('hidden tokens are predicted by the head of the pre-training, as in plain doubles', async () => {
  assert.equal(model.fillsGaps, true);
  assert.equal(bertModel(TINY, tinyWeights()).fillsGaps, false);
  open = await openGraph(model.graph({ from: 'ids', to: 'loss', end: 'tokens', pooling: 'mean' }));
  const shares = new Float32Array(gaps.length * 2);
  for (const [k, { row }] of gaps.entries()) shares[k * 2 + row] = 1;
  const { loss } = await open.run({
    ...batchOf(rows),
    positions: { dims: [3], data: Int32Array.from(gaps, ({ row, at }) => row * 8 + at) },
    targets: { dims: [3], data: Int32Array.from(gaps, ({ token }) => token) },
    shares: { dims: [3, 2], data: shares },
  });
  const [a, b, c] = gaps.map(expected);
  assert.ok(distance(loss!.data, [a!, b! + c!]) < 1e-4);
});

test('a head with a part missing is refused by tensor', () => {
  const name = 'cls.predictions.transform.LayerNorm.bias';
  const less = new Map(weights);
  less.delete(name);
  assert.throws(() => bertModel(TINY, less), { code: 'MODEL_TENSOR_MISSING', field: name });
});
