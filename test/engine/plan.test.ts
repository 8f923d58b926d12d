import assert from 'node:assert/strict';
import { test } from 'node:test';
import { radiusQuanta } from '../../worker/engine/evaluators/estimate.ts';
import { parseLayers } from '../../worker/engine/layers.ts';
import { layerOf, planEngine, startValues } from '../../worker/engine/plan.ts';
import { stageTensors } from '../../worker/engine/stages.ts';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import { State } from '../../worker/grid/state.ts';
import type { TensorStore } from '../../worker/grid/store.ts';
import type { StageSpec } from '../../worker/journal/job.ts';
import { jobOf, scope, stage, tinyFolder } from './fixture.ts';

const { model } = tinyFolder();
const planOf = (stages: readonly StageSpec[]) => planEngine(jobOf(stages), model);
const namesOf = (stages: readonly StageSpec[]) => planOf(stages).tensors.map(({ name }) => name);

test('layers are read as ranges, lists or all of them', () => {
  assert.deepEqual(parseLayers('all', 3, 'f'), [0, 1, 2]);
  assert.deepEqual(parseLayers('0-1,5, 1', 6, 'f'), [0, 1, 5]);
  for (const text of ['', '3', '2-1', '-1', 'a', '0,,1', '0-3']) {
    assert.throws(() => parseLayers(text, 3, 'f'), { code: 'PLAN_INVALID', field: 'f' }, text);
  }
});

test('weights are told by their layer, and embeddings belong to none', () => {
  assert.equal(layerOf('encoder.layer.4.output.dense.bias'), 4);
  assert.equal(layerOf('model.layers.12.mlp.up_proj.weight'), 12);
  assert.equal(layerOf('embeddings.LayerNorm.bias'), undefined);
});

test('the head comes first, and a head stage trains nothing else', () => {
  const plan = planOf([stage(scope('head'))]);
  assert.deepEqual(
    plan.tensors.map(({ name, shape }) => [name, shape]),
    [
      ['head.weight', [3, 32]],
      ['head.bias', [3]],
    ],
  );
  assert.deepEqual(plan.stages[0]!.perturbed, [0, 1]);
  assert.equal(plan.stages[0]!.firstLayer, model.layers);
});

test('subspace trains C and the head; the weights are in the state but are not moved by probes', () => {
  const plan = planOf([
    stage(scope('head')),
    stage(scope('subspace', { layers: '1-2', matrices: ['query', 'down'], epochs: 2 })),
  ]);
  const [, subspace] = plan.stages;
  assert.deepEqual(
    subspace!.perturbed.map((i) => plan.tensors[i]!.name),
    [
      'head.weight',
      'head.bias',
      'encoder.layer.1.attention.self.query.C',
      'encoder.layer.1.output.dense.C',
      'encoder.layer.2.attention.self.query.C',
      'encoder.layer.2.output.dense.C',
    ],
  );
  assert.equal(plan.tensors.length, 2 + 4 + 4);
  assert.equal(subspace!.firstLayer, 1);
  assert.deepEqual(subspace!.merges, [12, 16]);
  const [first] = stageTensors(plan, null)[1]!.merges;
  assert.equal(plan.tensors[first!.weight]!.name, 'encoder.layer.1.attention.self.query.weight');
});

test('a frozen head is not moved', () => {
  const plan = planOf([stage(scope('lora', { head: false }))]);
  assert.ok(!plan.stages[0]!.perturbed.includes(0));
});

test('full trains the chosen matrices with their biases and the layer norms, and embeddings only with all layers', () => {
  const names = namesOf([stage(scope('full', { layers: '1', matrices: ['value'] }))]);
  assert.deepEqual(
    new Set(names),
    new Set([
      'head.weight',
      'head.bias',
      'encoder.layer.1.attention.self.value.weight',
      'encoder.layer.1.attention.self.value.bias',
      'encoder.layer.1.attention.output.LayerNorm.weight',
      'encoder.layer.1.attention.output.LayerNorm.bias',
      'encoder.layer.1.output.LayerNorm.weight',
      'encoder.layer.1.output.LayerNorm.bias',
    ]),
  );
  const all = namesOf([stage(scope('full'))]);
  assert.ok(all.includes('embeddings.word_embeddings.weight'));
  assert.equal(all.length, 2 + 5 + 3 * 16);
});

test('stages that train the same share its tensors, and another rank has tensors of its own', () => {
  const names = namesOf([
    stage(scope('subspace', { layers: '2', matrices: ['up'] })),
    stage(scope('full', { layers: '2', matrices: ['up'] })),
    stage(scope('subspace', { layers: '2', matrices: ['up'], rank: 3 })),
  ]);
  const up = 'encoder.layer.2.intermediate.dense';
  assert.equal(names.filter((name) => name === `${up}.weight`).length, 1);
  assert.ok(names.includes(`${up}.C`) && names.includes(`${up}.C@2`));
});

test('lora is merged where another stage follows, unless that goes on with the same adapters', () => {
  const lora = scope('lora', { layers: '1', matrices: ['query'] });
  const merges = (...stages: StageSpec[]) => planOf(stages).stages.map((s) => s.merges);
  assert.deepEqual(merges(stage(lora)), [[]]);
  assert.deepEqual(merges(stage(lora), stage(lora)), [[], []]);
  assert.deepEqual(merges(stage(lora), stage(scope('full'))), [[8], []]);
  assert.ok(!namesOf([stage(lora)]).includes('encoder.layer.1.attention.self.query.weight'));
});

test('start values lie on their grid, near the weights, and the same for every replica', () => {
  const stages = [stage(scope('lora')), stage(scope('full'))];
  const plan = planOf(stages);
  const fill = (store: TensorStore) => {
    for (let i = 0; i < plan.tensors.length; i++) store.set(i, startValues(plan, tinyFolder().model, i));
    return store.digest();
  };
  assert.equal(fill(new State(plan.tensors)), fill(new ReferenceStore(planOf(stages).tensors)));
  for (const [i, { name, exponent }] of plan.tensors.entries()) {
    const values = startValues(plan, model, i);
    if (plan.starts[i] === 'weight') {
      const original = model.weights.get(name)!.data;
      for (const [k, x] of values.entries()) assert.ok(Math.abs(x - original[k]!) <= 2 ** exponent / 2);
    }
    if (plan.starts[i] === 'zeros') assert.ok(values.every((x) => x === 0));
    if (plan.starts[i] === 'lora') {
      assert.ok(values.some((x) => x > 0) && values.some((x) => x < 0));
      assert.ok(Math.max(...values) <= 1 / Math.sqrt(plan.tensors[i]!.shape[1]!));
    }
  }
});

test('a radius is thousands of quanta of what starts at zero, and of the weights', () => {
  for (const radius of [1e-4, 1e-3, 0.1]) {
    const plan = planOf([stage(scope('lora'), { radius }), stage(scope('full'), { radius })]);
    for (const { name, exponent } of plan.tensors) {
      const quanta = radiusQuanta(radius, exponent);
      assert.ok(quanta > 100, `${name}: ${quanta}`);
      assert.ok(quanta < 2 ** 15, `${name}: ${quanta}`);
    }
  }
});

test('a plan that the model cannot carry out is refused with its field', () => {
  const refused = (spec: StageSpec, field: string) =>
    assert.throws(() => planOf([spec]), { code: 'PLAN_INVALID', field: `method.plan[0].scope.${field}` });
  refused(stage(scope('subspace', { layers: '9' })), 'layers');
  refused(stage(scope('subspace', { rank: 20, epochs: 2 })), 'rank');
  refused(stage(scope('subspace', { epochs: 9 })), 'epochs');
  refused(stage(scope('lora', { matrices: [] })), 'matrices');
});

test('adapters are refused by name where the graph is not ours, as that of an ONNX file is not', () => {
  const foreign = { ...model, family: 'onnx', matrices: [] };
  for (const type of ['lora', 'subspace'] as const)
    assert.throws(() => planEngine(jobOf([stage(scope(type))]), foreign), {
      code: 'PLAN_INVALID',
      field: 'method.plan[0].scope.type',
      message: new RegExp(
        `is ${type}, and no adapters can be put into the graph of a model of the family onnx`,
      ),
    });
});

test('the activation basis has rows for the widest demand of each site', () => {
  const basis = { type: 'activation', calibration: { uri: 'x' }, rows: 16 } as const;
  const plan = planOf([
    stage(scope('subspace', { layers: '1', matrices: ['query', 'value'], epochs: 2, basis })),
    stage(scope('subspace', { layers: '1-2', matrices: ['key'], rank: 3, basis })),
  ]);
  assert.deepEqual(
    [...plan.basisRows],
    [
      ['1.attention', { width: 32, rows: 4 }],
      ['2.attention', { width: 32, rows: 3 }],
    ],
  );
});
