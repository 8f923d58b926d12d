import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Basis, basisFloats, randomBasis, siteName } from '../../worker/engine/basis.ts';
import { decodeBasis } from '../../worker/engine/basis-file.ts';
import { basisOf, type Moments, measureMoments } from '../../worker/engine/calibrate.ts';
import { makeBasis } from '../../worker/engine/make-basis.ts';
import { planEngine } from '../../worker/engine/plan.ts';
import type { Model } from '../../worker/model/family.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { minilm, missingMinilm } from '../model/minilm.ts';
import { ReferenceBert } from '../model/reference.ts';
import { TINY, tinyWeights } from '../model/tiny.ts';
import { jobOf, randomExamples, scope, stage, tinyFolder } from './fixture.ts';

/** Share of the energy of a matrix's output, E |W x|^2, that is left when x is projected on the rows of V. */
function outputEnergy(weight: Float32Array, width: number, moment: Float64Array, v: Float32Array): number {
  const rank = v.length / width;
  const apply = (a: (i: number, j: number) => number, rows: number) => {
    // trace(A M A^T) for A [rows, width]
    let sum = 0;
    for (let o = 0; o < rows; o++) {
      for (let i = 0; i < width; i++) {
        let row = 0;
        for (let j = 0; j < width; j++) row += moment[i * width + j]! * a(o, j);
        sum += a(o, i) * row;
      }
    }
    return sum;
  };
  const out = 24; // Rows of W: enough to compare.
  const projected = new Float64Array(out * width);
  for (let o = 0; o < out; o++) {
    for (let r = 0; r < rank; r++) {
      let along = 0;
      for (let j = 0; j < width; j++) along += weight[o * width + j]! * v[r * width + j]!;
      for (let j = 0; j < width; j++) projected[o * width + j]! += along * v[r * width + j]!;
    }
  }
  return apply((o, j) => projected[o * width + j]!, out) / apply((o, j) => weight[o * width + j]!, out);
}

function assertActivationHoldsMore(model: Model, held: Moments, basis: Basis, rank: number, factor: number) {
  for (const matrix of model.matrices) {
    const site = siteName(matrix.layer, matrix.kind);
    const moment = held.get(site);
    if (moment === undefined) continue;
    const weight = model.weights.get(`${matrix.name}.weight`)!.data;
    const energy = (v: Float32Array) => outputEnergy(weight, matrix.in, moment.values, v);
    const activation = energy(basisFloats(basis.get(site)!));
    const random = energy(basisFloats(randomBasis(5, site, matrix.in, rank)));
    assert.ok(activation > factor * random, `${matrix.name}: ${activation} against ${random}`);
  }
}

test('moments are the mean of x x^T over the tokens that are not padding', async () => {
  const { model } = tinyFolder();
  const { ids } = randomExamples(9, 4);
  const moments = await measureMoments(model, ids, ['1.attention'], { padId: 0, threads: 1 });
  // What layer 1 reads, from a plain implementation.
  const reference = new ReferenceBert(TINY, tinyWeights());
  const { width, values } = moments.get('1.attention')!;
  const expected = new Float64Array(width * width);
  const tokens = ids.reduce((sum, row) => sum + row.length, 0);
  for (const row of ids) {
    const x = reference.hidden(row)[1]!;
    for (const vector of x) {
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) expected[i * width + j]! += (vector[i]! * vector[j]!) / tokens;
    }
  }
  for (const [i, value] of values.entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-4);
});

test('on a tiny model, an activation basis holds more of the output energy of other text than a random one', async () => {
  const { model } = tinyFolder();
  const sites = ['1.attention', '1.output', '2.up', '2.down'];
  const options = { padId: 0, threads: 1 };
  const moments = await measureMoments(model, randomExamples(60, 4).ids, sites, options);
  const held = await measureMoments(model, randomExamples(60, 5).ids, sites, options);
  const basis = basisOf(moments, new Map(sites.map((site) => [site, { rows: 6 }])));
  assertActivationHoldsMore(model, held, basis, 6, 1.5);
});

test('on MiniLM, a basis from a few sentences holds more of the output energy of others', {
  skip: await missingMinilm(),
}, async () => {
  const { model, tokenizer } = await openModelFolder(await minilm());
  const texts = (lines: readonly string[]) => lines.map((line) => tokenizer.encode(line, 32).ids);
  const sites = ['5.attention', '5.up'];
  const options = { padId: tokenizer.padId, threads: 2 };
  const moments = await measureMoments(model, texts(NEWS), sites, options);
  const held = await measureMoments(model, texts(REVIEWS), sites, options);
  const basis = basisOf(moments, new Map(sites.map((site) => [site, { rows: 8 }])));
  assertActivationHoldsMore(model, held, basis, 8, 2);
});

test('a job makes its basis from its calibration text, the same bytes each time', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'onebyte-basis-'));
  try {
    const lines = NEWS.map((text, i) => JSON.stringify({ body: text, n: i }));
    await writeFile(join(dir, 'news.jsonl'), lines.join('\n'));
    const calibration = { uri: 'news.jsonl', text: '{body}' };
    const spec = scope('subspace', {
      layers: '1-2',
      epochs: 2,
      basis: { type: 'activation', calibration, rows: 4 },
    });
    const job = jobOf([stage(spec)]);
    const folder = tinyFolder();
    const plan = planEngine(job, folder.model);
    const make = () => makeBasis({ job, folder, plan, dataFolder: dir, threads: 1 });
    const bytes = await make();
    assert.deepEqual(await make(), bytes);
    const basis = decodeBasis(bytes);
    assert.deepEqual([...basis.keys()].sort(), [...plan.basisRows.keys()].sort());
    for (const site of basis.values()) assert.equal(site.rows, 4);
    const none = jobOf([stage({ ...spec, basis: { type: 'activation', rows: 4 } })]);
    const without = makeBasis({
      job: none,
      folder,
      plan: planEngine(none, folder.model),
      dataFolder: dir,
      threads: 1,
    });
    await assert.rejects(without, { code: 'PLAN_INVALID', field: 'method.plan[0].scope.basis.calibration' });
  } finally {
    await rm(dir, { recursive: true });
  }
});

const NEWS = [
  'The city council voted on Tuesday to raise the fare for buses and trains by ten cents.',
  'Negotiators from both countries will meet again next month to discuss fishing rights.',
  'Scientists say the glacier has retreated faster in the last decade than in the century before.',
  'The company reported a small profit for the third quarter, in line with what analysts expected.',
  'A court ordered the ministry to publish the documents within thirty days.',
  'Farmers in the valley are worried that the drought will last until autumn.',
];

const REVIEWS = [
  'A warm and funny film whose two leads make you forget how thin the story is.',
  'It is too long, too loud, and nobody in it behaves like a person.',
  'I bought this camera for a trip and it has not let me down once.',
  'The battery died after a week and the shop would not take it back.',
];
