import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { exportPeft, exportSafetensors, writeFiles } from '../../worker/model/export.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { randomTensor } from './tiny.ts';
import { ROWS, writeMember } from './tiny-llama.ts';

/** A Python with torch, transformers and peft: several GB, so that it is not fetched for a test. */
const python = process.env.ONEBYTE_TEST_PEFT;
const skip = python ? false : 'needs a Python with torch, transformers and peft in ONEBYTE_TEST_PEFT';
const root = await mkdtemp(join(tmpdir(), 'onebyte-peft-'));
after(() => rm(root, { recursive: true }));

test('the peft package loads an adapter, and gives what transformers gives of the merged folder', {
  skip,
}, async () => {
  const [base, adapter, merged] = ['base', 'adapter', 'merged'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  await writeMember(base, 'qwen3');
  const folder = await openModelFolder(base);
  let seed = 1;
  const factors = new Map(
    folder.model.matrices.map(({ name, in: width, out }) => [
      name,
      { a: randomTensor([4, width], seed++, 0.2), b: randomTensor([out, 4], seed++, 0.2) },
    ]),
  );
  const adapters = { rank: 4, alpha: 8, factors };
  const trained = { weights: new Map(), head: null, pooling: 'mean', adapters } as const;
  await writeFiles(adapter, exportPeft(folder, trained, { name: base }));
  await writeFiles(merged, await exportSafetensors(folder, trained));
  const script = join(import.meta.dirname, 'oracle/peft.py');
  const out = execFileSync(python!, [script, base, adapter, merged, JSON.stringify(ROWS)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const { adapterAgainstMerged, adapterAgainstBase } = JSON.parse(out);
  assert.ok(adapterAgainstMerged < 1e-4, `${adapterAgainstMerged}`);
  assert.ok(adapterAgainstBase > 0.1);
});
