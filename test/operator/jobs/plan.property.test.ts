import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { wantedWorkers } from '../../../crds/job.ts';
import { plan } from '../../../operator/jobs/plan.ts';
import { workerOf } from '../../../operator/jobs/worker.ts';
import type { LogView } from '../../../operator/jobs/world.ts';
import { ago, jobOf, known, NOW, type PodState, unasked } from './builder.ts';
import { Model } from './model.ts';

const states: PodState[] = [
  'pending',
  'starting',
  'ready',
  'joined',
  'leaving',
  'left',
  'evicted',
  'failed',
  'image-error',
  'unschedulable',
  'gated',
  'oom',
  'crash-loop',
  'refused',
];
const groupNames = ['', 'north', 'south', 'gone'];

const end = { reason: 'rounds', digest: 'ab' } as const;
const logs: fc.Arbitrary<LogView> = fc.constantFrom(
  known(),
  known({ members: 50 }),
  known({ rounds: 100, end }),
  { ...unasked, answer: { type: 'empty' } as const },
  { ...unasked, answer: { type: 'missing' } as const },
  { ...unasked, problem: 'no answer' },
  { ...known(), problem: 'no answer' },
);

const rarely = fc.integer({ min: 0, max: 5 }).map((n) => n === 5);

/** Any job, any pods, any log. */
const models = fc
  .record({
    replicas: fc.integer({ min: 0, max: 6 }),
    groups: fc.subarray(['north', 'south']),
    groupReplicas: fc.integer({ min: 0, max: 4 }),
    suspend: rarely,
    output: fc.boolean(),
    isNewTemplate: fc.boolean(),
    isDeleted: rarely,
    isNew: rarely,
    completed: fc.option(fc.integer({ min: 0, max: 200 }), { freq: 1 }),
    ttl: fc.option(fc.integer({ min: 0, max: 400 })),
    log: logs,
    pods: fc.uniqueArray(
      fc.record({
        group: fc.constantFrom(...groupNames),
        index: fc.integer({ min: 0, max: 6 }),
        state: fc.oneof(fc.constant<PodState>('joined'), fc.constantFrom(...states)),
        age: fc.integer({ min: 0, max: 2_000 }),
        failures: fc.integer({ min: 0, max: 9 }),
      }),
      { selector: ({ group, index }) => `${group}/${index}`, maxLength: 16 },
    ),
  })
  .map((draft) => {
    const groups = draft.groups.map((name) => ({ name, replicas: draft.groupReplicas }));
    const asked = draft.replicas + groups.length * draft.groupReplicas;
    const spec = {
      // The API server refuses a job that asks for fewer than min.
      replicas: asked === 0 ? 1 : draft.replicas,
      suspend: draft.suspend,
      ...(groups.length > 0 && { groups }),
      ...(draft.output && { output: { uri: 's3://bucket/model' } }),
      ...(draft.ttl !== null && { ttlSecondsAfterFinished: draft.ttl }),
    };
    const deletionTimestamp = ago(5);
    const job = jobOf('tune', spec, {
      ...(draft.isDeleted && { deletionTimestamp }),
      ...(draft.isNew && { finalizers: [] }),
    });
    const status = draft.isNew
      ? {}
      : { stream: 's', ...(draft.completed !== null && { completionTime: ago(draft.completed) }) };
    const model = new Model(job, status, draft.isNew ? unasked : draft.log, NOW);
    for (const { group, index, state, age, failures } of draft.isNew ? [] : draft.pods)
      model.place({ group, index, failures }, state, age);
    if (draft.isNewTemplate) {
      const template = { spec: { nodeSelector: { disk: 'ssd' } } };
      model.job = { ...job, spec: { ...job.spec, template } };
    }
    return model;
  });

const runs = { numRuns: 1_000 };

describe('plan, over random clusters', () => {
  test('a pass ends, and a second pass does nothing and says the same', () => {
    fc.assert(
      fc.property(models, (model) => {
        model.pass();
        if (model.isDeleted) return;
        const { actions, status } = plan(model.world);
        assert.deepEqual(actions, []);
        if (status !== null) assert.deepEqual(status, model.status);
      }),
      runs,
    );
  });

  test('while pods do what pods do, every state comes to what the spec says in a bounded number of passes', () => {
    fc.assert(
      fc.property(models, (model) => {
        // Every worker may have to go one after the other, and each of them to be waited for.
        const bound = 2 * model.pods.size + 10;
        let passes = 0;
        for (; passes < bound && !model.isDeleted; passes++) {
          model.pass();
          model.now += 400_000;
          if (model.log.answer === null) model.log = { ...unasked, answer: { type: 'empty' } };
          if (model.log.problem !== null) model.log = { ...model.log, problem: null };
          model.settle();
        }
        if (model.job.metadata.deletionTimestamp !== undefined) {
          assert.ok(model.isDeleted || model.job.metadata.finalizers?.length === 0);
          return;
        }
        if (model.isDeleted) {
          assert.ok(model.job.spec.ttlSecondsAfterFinished !== undefined && model.status.completionTime);
          return;
        }
        const isOver = model.status.completionTime !== undefined;
        const wanted = isOver || model.job.spec.suspend ? 0 : wantedWorkers(model.job.spec);
        assert.equal(model.living, wanted);
        if (wanted === 0) return;
        const workers = [...model.pods.values()].map(workerOf);
        assert.equal(workers.filter(({ isJoined }) => isJoined).length, wanted);
        assert.equal(
          new Set(workers.map(({ template, group }) => `${group} ${template}`)).size,
          new Set(workers.map(({ group }) => group)).size,
        );
      }),
      runs,
    );
  });

  test('a plan never makes more than is missing, never makes what is there, and lets one trainer go at a time', () => {
    fc.assert(
      fc.property(models, (model) => {
        const { actions } = plan(model.world);
        const living = model.living;
        const made = actions.filter(({ type }) => type === 'create-pod' || type === 'replace-pod').length;
        if (made > 0)
          assert.ok(living + made <= Math.max(living, wantedWorkers(model.job.spec)) + model.pods.size);
        for (const action of actions) {
          if (action.type === 'create-pod') assert.ok(!model.pods.has(action.worker.name));
        }
        const leaves = actions.filter(
          (action) =>
            action.type === 'remove-pod' &&
            action.worker.isJoined &&
            (action.why === 'surplus' || action.why === 'outdated'),
        );
        assert.ok(leaves.length <= 1);
        for (const group of new Set(groupNames)) {
          const spec = model.job.spec.groups?.find(({ name }) => name === group);
          const desired = group === '' ? model.job.spec.replicas : (spec?.replicas ?? 0);
          const present = [...model.pods.values()]
            .map(workerOf)
            .filter((w) => w.group === group && w.leavesBy === null);
          const created = actions.filter((a) => a.type === 'create-pod' && a.worker.group === group).length;
          assert.ok(created === 0 || present.length + created <= desired, `group ${group}`);
        }
      }),
      runs,
    );
  });

  test('a plan says when to look again wherever a clock decides, and never in the past', () => {
    fc.assert(
      fc.property(models, (model) => {
        model.pass();
        const { again } = plan(model.world);
        assert.ok(again === null || again > 0);
        if (again === null || model.isDeleted) return;
        // Nothing happens before that time.
        model.now += again - 1;
        assert.deepEqual(plan(model.world).actions, []);
      }),
      runs,
    );
  });
});
