import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openReplica } from '../../worker/engine/open.ts';
import { trainedOf } from '../../worker/engine/trained.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import { mergedWeights } from '../../worker/model/export.ts';
import { distance } from '../model/session.ts';
import { jobOf, scope, stage, tinyFolder } from './fixture.ts';
import { entriesOf } from './opening.ts';

const ROUNDS = 3;
const QUERY = 'encoder.layer.2.attention.self.query.weight';

/** The query matrix of layer 2 that exports get after so many rounds. */
function exported(stages: Parameters<typeof jobOf>[0], rounds: number): Float32Array {
  const folder = tinyFolder();
  const job = jobOf(stages);
  const { plan, replica } = openReplica(folder.model, job, null);
  const { entries } = entriesOf(
    {
      kind: 'genesis',
      uid: 'trained',
      at: 0,
      job: canonicalJson({ name: 'trained', spec: job }),
      base: '0'.repeat(64),
      tokenizer: '0'.repeat(64),
      tensors: plan.tensors,
      state: replica.digest(),
      artifacts: [],
    },
    Array.from({ length: rounds }, (_, round) => Uint8Array.of(200 + round, 30)),
  );
  replica.commitAll(entries);
  return mergedWeights(folder, trainedOf(replica, plan, null, folder)).get(QUERY)!.data;
}

test('a run that ends within a lora stage is exported with it, also where another stage was to follow', () => {
  const lora = stage(scope('lora', { layers: '2' }), {}, ROUNDS);
  const full = stage(scope('full', { layers: '2', matrices: ['down'] }));
  const base = tinyFolder().model.weights.get(QUERY)!.data;
  for (const plan of [[lora], [lora, full]]) {
    const moved = distance(exported(plan, ROUNDS - 1), base);
    assert.ok(moved > 1e-3, `${plan.length} stages: ${moved}`);
  }
  // The merge at the stage's end moves that into the matrix.
  assert.ok(distance(exported([lora, full], ROUNDS), base) > 1e-3);
});
