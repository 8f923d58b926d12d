import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ThreadedEngine } from '../../worker/engine/threaded.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { Sandbox } from '../cli/sandbox.ts';
import { configOf, entriesOf } from './opening.ts';

const shard = { index: 0, of: 1, cap: Number.POSITIVE_INFINITY };

test('an engine in its thread measures, moves, goes back and starts anew', async (t) => {
  const config = await configOf(await Sandbox.create(t));
  const engine = await ThreadedEngine.open(config);
  t.after(() => engine.close());
  assert.deepEqual(engine.facts.rows, { train: 48, validation: 16, test: 0 });
  const { signal } = new AbortController();
  const { entries, ledger } = entriesOf(config.genesis, [Uint8Array.of(70, 200), Uint8Array.of(33)]);
  const start = await engine.digest();
  assert.equal(start, config.genesis.state);
  await engine.commitAll(entries);
  const end = await engine.digest();
  assert.notEqual(end, start);
  await engine.prepare();
  assert.equal(await engine.digest(), end);
  const request = { round: ledger.round, slot: 0, count: 3, roundChain: ledger.roundChain };
  const probed = await engine.probe(request, signal);
  assert.equal(probed?.bytes.length, 3);
  assert.equal(probed.lossCount, 48);
  const [sums] = (await engine.evaluate({ round: ledger.round, splits: ['validation'], shard }, signal))!;
  assert.equal(sums?.count, 16);
  await engine.rewind(2);
  assert.equal(await engine.digest(), start);
  await engine.rebuild();
  for (const { record, body } of entries) await engine.commit(record, body);
  assert.equal(await engine.digest(), end);
  const { directionSeconds, frozenSeconds, ...again } = (await engine.probe(request, signal))!;
  assert.ok(directionSeconds! > 0, 'how long it took is told, and is never the same');
  const { directionSeconds: _, frozenSeconds: __, ...first } = probed;
  assert.deepEqual(again, first);
  assert.equal(frozenSeconds, 0, 'all rows had their frozen part before the first probe');
});

test('work that nobody wants any more gives null, and delays nothing that comes after it', async (t) => {
  const config = await configOf(await Sandbox.create(t));
  const engine = await ThreadedEngine.open(config);
  t.after(() => engine.close());
  const { entries, ledger } = entriesOf(config.genesis, []);
  await engine.commitAll(entries);
  const request = { round: 0, slot: 0, count: 200, roundChain: ledger.roundChain };
  const unwanted = new AbortController();
  const probe = engine.probe(request, unwanted.signal);
  const evaluation = engine.evaluate({ round: 0, splits: ['validation'], shard }, unwanted.signal);
  const digest = engine.digest();
  unwanted.abort();
  assert.deepEqual(await Promise.all([probe, evaluation]), [null, null]);
  assert.equal(await digest, config.genesis.state);
  assert.equal(await engine.probe(request, unwanted.signal), null);
  const { signal } = new AbortController();
  assert.equal((await engine.probe({ ...request, count: 2 }, signal))?.bytes.length, 2);
});

test('an error keeps its code, field, cause and remedy on its way out of the thread', async (t) => {
  const config = await configOf(await Sandbox.create(t));
  await rm(join(config.modelDir, 'config.json'));
  await assert.rejects(ThreadedEngine.open(config), (error: unknown) => {
    assert.ok(error instanceof OnebyteError);
    assert.equal(error.code, 'MODEL_FILE_MISSING');
    assert.equal(error.field, 'config.json');
    assert.match((error.cause as Error).message, /ENOENT/);
    assert.ok(error.remedy);
    return true;
  });
  await writeFile(join(config.modelDir, 'config.json'), '[]');
  await assert.rejects(ThreadedEngine.open(config), { code: 'MODEL_CONFIG_INVALID' });
});

test('an engine whose thread has ended answers every call with an error', async (t) => {
  const config = await configOf(await Sandbox.create(t));
  const engine = await ThreadedEngine.open(config);
  await engine.close();
  await assert.rejects(engine.digest(), { code: 'ENGINE_FAILED' });
  await engine.close();
});

test('a process that ends in the middle of a forward pass ends as it was asked to', async (t) => {
  const config = await configOf(await Sandbox.create(t));
  const path = join(config.folder, 'config.json');
  await writeFile(path, JSON.stringify(config));
  for (let i = 0; i < 4; i++) {
    const child = spawnSync(process.execPath, [join(import.meta.dirname, 'leaver.ts'), path], {
      encoding: 'utf8',
    });
    assert.equal(child.stderr, '');
    assert.equal(child.signal, null);
    assert.equal(child.status, 7);
  }
});
