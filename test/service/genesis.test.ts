import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import { EmbeddedLog } from '../../worker/log/embedded.ts';
import { findGenesis } from '../../worker/service/genesis.ts';
import type { Preparers } from '../../worker/service/preparers.ts';
import { genesisOf } from '../journal/fixture.ts';

/** Longer than any test waits. */
const EVER = 3_600_000;

/** Who prepares, in this process. */
class Room {
  readonly there = new Set<string>();

  seenBy(name: string): Preparers {
    return {
      anybody: async () => {
        await sleep(1);
        return [...this.there].some((other) => other !== name);
      },
      begin: () => {
        this.there.add(name);
        return () => this.there.delete(name);
      },
    };
  }
}

async function lab(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-genesis-'));
  const log = await EmbeddedLog.open(join(folder, 'log'));
  t.after(async () => {
    await log.close();
    await rm(folder, { recursive: true });
  });
  const room = new Room();
  const made: string[] = [];
  const { uid } = genesisOf();
  const { signal } = new AbortController();
  const begin = (
    name: string,
    headStartMs: number,
    work: () => Promise<unknown> = () => sleep(50),
    preparers: Preparers = room.seenBy(name),
  ) => {
    const make = async (): Promise<GenesisRecord> => {
      made.push(name);
      const at = made.length;
      await work();
      return { ...genesisOf(), at };
    };
    return findGenesis({ log, uid, make, headStartMs, preparers, signal });
  };
  return { begin, made, room };
}

test('a worker that gives others a head start takes what they begin; with nobody there it begins by itself', async (t) => {
  const { begin, made, room } = await lab(t);
  const patient = begin('patient', EVER);
  await sleep(0);
  assert.deepEqual(made, []);
  // Nobody else: as soon as its own time has come.
  const late = await begin('late', 300);
  assert.deepEqual(made, ['late']);
  assert.deepEqual(await patient, late);
  assert.deepEqual(await begin('newcomer', 0), late);
  assert.deepEqual(made, ['late']);
  assert.equal(room.there.size, 0);
});

test('while one prepares the run no other does, whoever was to be first; whose work fails makes way', async (t) => {
  const { begin, made } = await lab(t);
  const work = Promise.withResolvers<void>();
  const failing = begin('second', 0, () => work.promise);
  while (made.length === 0) await sleep(1);
  const first = begin('first', 0);
  await sleep(100);
  assert.deepEqual(made, ['second']);
  work.reject(new Error('no such file'));
  await assert.rejects(failing, /no such file/);
  assert.equal((await first).at, 2);
  assert.deepEqual(made, ['second', 'first']);
});

test('one that hangs is not waited for without end', async (t) => {
  const { begin, made, room } = await lab(t);
  const hung = room.seenBy('hung');
  hung.begin();
  await begin('other', 0);
  assert.deepEqual(made, ['other']);
});

test('word that nobody is at it may be slow to come, and the log is read meanwhile', async (t) => {
  const { begin, made, room } = await lab(t);
  const asked: number[] = [];
  const far = (answer: Promise<boolean>): Preparers => ({
    ...room.seenBy('far'),
    anybody: (withinMs) => {
      asked.push(withinMs);
      return answer;
    },
  });
  const unanswered = begin('waits', 0, undefined, far(new Promise(() => {})));
  const late = sleep(600).then(() => false);
  const own = await begin('far', 0, undefined, far(late));
  assert.deepEqual(made, ['far']);
  assert.deepEqual(await unanswered, own);
  // One question each, with time for a line that takes its second.
  assert.equal(asked.length, 2);
  assert.ok(asked.every((ms) => ms > 1000));
});
