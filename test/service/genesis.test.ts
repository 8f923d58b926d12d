import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import { EmbeddedLog } from '../../worker/log/embedded.ts';
import { findGenesis } from '../../worker/service/genesis.ts';
import { genesisOf } from '../journal/fixture.ts';

/** Longer than any test waits. */
const EVER = 3_600_000;

test('a worker that gives others a head start takes what they begin; with nobody there it begins by itself', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-genesis-'));
  const log = await EmbeddedLog.open(join(folder, 'log'));
  t.after(async () => {
    await log.close();
    await rm(folder, { recursive: true });
  });
  const { uid } = genesisOf();
  const { signal } = new AbortController();
  const made: string[] = [];
  const begin = (name: string, headStartMs: number) => {
    const make = async (): Promise<GenesisRecord> => {
      made.push(name);
      await sleep(50);
      return { ...genesisOf(), at: made.length };
    };
    return findGenesis({ log, uid, make, headStartMs, signal });
  };
  const patient = begin('patient', EVER);
  await sleep(0);
  assert.deepEqual(made, []);
  // Nobody else: as soon as its own time has come.
  const late = await begin('late', 300);
  assert.deepEqual(made, ['late']);
  assert.deepEqual(await patient, late);
  assert.deepEqual(await begin('newcomer', 0), late);
  assert.deepEqual(made, ['late']);
});
