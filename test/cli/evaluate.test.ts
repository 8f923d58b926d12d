import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Metrics } from '../../worker/task/metrics.ts';
import { Sandbox } from './sandbox.ts';

test('the model of a run is measured from its journal as its workers measured it, and F1 with it', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  const result = await sandbox.run(job, '--out', sandbox.path('run'));
  const evaluate = async (...args: string[]) => {
    const { code, stdout, stderr } = await sandbox.onebyte('evaluate', 'run', job, '--json', ...args);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as Metrics & { readonly rounds: number; readonly split: string };
  };
  const [after, before] = [await evaluate(), await evaluate('--to', '0')];
  assert.deepEqual([after.split, after.rounds, after.rows, before.rounds], ['test', 12, 16, 0]);
  assert.ok(Math.abs(after.loss - result.loss.after!) < 1e-6);
  assert.ok(Math.abs(after.accuracy - result.metric.after!) < 1e-6);
  assert.ok(Math.abs(before.loss - Math.log(2)) < 1e-6, 'a head of zeros knows nothing');
  // It says the first label of everything: the second one is never found.
  assert.equal(before.f1, 0);
  assert.ok(after.f1! >= 0 && after.f1! <= 1);

  const text = await sandbox.onebyte('evaluate', 'run', job, '--split', 'validation');
  assert.match(text.stdout, /^tiny after 12 rounds, validation: 16 rows\n {2}loss {10}\d/);
  assert.match(text.stdout, /\n {2}F1 {12}[01][.]\d{4}\n$/);

  await writeFile(sandbox.path('some.jsonl'), '{"text": "good film", "label": "pos"}\n');
  const one = await evaluate('--set', 'data.test=[{name: some, uri: some.jsonl}]');
  assert.equal(one.rows, 1);
  assert.equal(one.f1, one.accuracy, 'of one row that has the second label they are the same');

  const absent = await sandbox.job(
    { data: { train: [{ name: 'train', uri: 'train.jsonl' }] } },
    {},
    'b.yaml',
  );
  const refused = await sandbox.onebyte('evaluate', 'run', absent);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /error DATA_MISSING: .*b[.]yaml has no data[.]test/);
});
