import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { peftBase } from '../../cli/export.ts';
import { exportPeft } from '../../worker/model/export.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { writeTinyFolder } from '../model/tiny.ts';

test('an adapter names its base as PEFT finds it: the repository and, beside it, the revision', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'onebyte-export-'));
  t.after(() => rm(dir, { recursive: true }));
  await writeTinyFolder(dir);
  const folder = await openModelFolder(dir);
  const adapters = { rank: 1, alpha: 1, factors: new Map() };
  const trained = { weights: new Map(), head: null, pooling: 'mean', adapters } as const;
  for (const [uri, name, revision] of [
    ['hf://org/name', 'org/name', undefined],
    ['hf://org/name@main', 'org/name', undefined],
    ['hf://org/name@refs/pr/1', 'org/name', 'refs/pr/1'],
    ['hf://org/name/files/name-Q8_0.gguf@1f2e', 'org/name', '1f2e'],
    ['../models/mine', '../models/mine', undefined],
  ] as const) {
    const config = exportPeft(folder, trained, peftBase(uri)).get('adapter_config.json')!;
    const { base_model_name_or_path, revision: found } = JSON.parse(Buffer.from(config).toString());
    assert.deepEqual([base_model_name_or_path, found], [name, revision], uri);
  }
});
