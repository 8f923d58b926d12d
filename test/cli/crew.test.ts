import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crewOf } from '../../cli/run/crew.ts';
import type { Spec } from '../../crds/job.ts';

/** The part of a spec that says who takes part. */
function specOf(groups: readonly string[], withData: boolean, replicas: number): Spec {
  const data = { train: [{ name: 'rows', uri: 'rows.jsonl' }] };
  return {
    replicas,
    ...(withData ? { data } : {}),
    groups: groups.map((name) => ({ name, replicas, data })),
  } as unknown as Spec;
}

test('every worker of a crew has a name of its own, whatever the groups are called', () => {
  const name = fc.constantFrom('worker', 'worker-0', 'worker-1', 'worker-data', 'data', 'a', 'a-0', 'a-1');
  const names = fc.uniqueArray(name, { minLength: 1 });
  fc.assert(
    fc.property(names, fc.boolean(), fc.integer({ min: 1, max: 12 }), (groups, withData, replicas) => {
      const crew = crewOf(specOf(groups, withData, replicas));
      assert.equal(crew.length, (groups.length + (withData ? 1 : 0)) * replicas);
      assert.equal(new Set(crew.map((member) => member.name)).size, crew.length);
    }),
  );
});

test('workers of the data are called worker, those of a group after it', () => {
  assert.deepEqual(
    crewOf(specOf(['hospital'], true, 1)).map((member) => member.name),
    ['worker-0', 'hospital-0'],
  );
});
