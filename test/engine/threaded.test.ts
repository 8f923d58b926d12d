import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { EngineConfig } from '../../worker/engine/engine.ts';
import { openReplica } from '../../worker/engine/open.ts';
import { ThreadedEngine } from '../../worker/engine/threaded.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import { advance, emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { GenesisRecord, JournalRecord, RoundRecord } from '../../worker/journal/record.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { Sandbox } from '../cli/sandbox.ts';
import { jobOf, scope, stage } from './fixture.ts';

const shard = { index: 0, of: 1, cap: Number.POSITIVE_INFINITY };

async function configOf(t: TestContext): Promise<EngineConfig> {
  const sandbox = await Sandbox.create(t);
  const job = jobOf([stage(scope('full', { layers: '2' }), { batch: 48 })], ['neg', 'pos']);
  const folder = await openModelFolder(sandbox.model);
  const { plan, replica } = openReplica(folder.model, job, null);
  const genesis: GenesisRecord = {
    kind: 'genesis',
    uid: 'threaded',
    at: 0,
    job: canonicalJson({ name: 'threaded', spec: job }),
    base: folder.digests.weights,
    tokenizer: folder.digests.tokenizer,
    tensors: plan.tensors,
    state: replica.digest(),
    artifacts: [],
  };
  const source = (name: string) => [{ name, uri: `${name}.jsonl` }];
  return {
    genesis,
    member: 'a',
    modelDir: sandbox.model,
    artifacts: [],
    data: { train: source('train'), validation: source('validation'), test: [] },
    folder: sandbox.dir,
    threads: 1,
    memoryBudgetBytes: 1 << 24,
  };
}

/** Entries of a run with one member: genesis, its join, and rounds with these bytes. */
function entriesOf(genesis: GenesisRecord, rounds: readonly Uint8Array[]) {
  let ledger: Ledger = emptyLedger();
  const put = (record: JournalRecord) => {
    const body = encodeBody(record, ledger);
    ledger = advance(ledger, record, body);
    return { record, body };
  };
  const round = (changes: Partial<RoundRecord>): RoundRecord => ({
    kind: 'round',
    round: ledger.round,
    attempt: 0,
    elapsed: 0,
    loss: Number.NaN,
    bytes: [],
    joins: [],
    leaves: [],
    evaluations: [],
    digest: null,
    ...changes,
  });
  const join = { id: '0'.repeat(16), name: 'a', group: '', examples: 48 };
  const entries = [put(genesis), put(round({ joins: [join] }))];
  for (const bytes of rounds) entries.push(put(round({ bytes: [bytes] })));
  return { entries, ledger };
}

test('an engine in its thread measures, moves, goes back and starts anew', async (t) => {
  const config = await configOf(t);
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
  assert.deepEqual(await engine.probe(request, signal), probed);
});

test('work that nobody wants any more gives null, and delays nothing that comes after it', async (t) => {
  const config = await configOf(t);
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
  const config = await configOf(t);
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
  const config = await configOf(t);
  const engine = await ThreadedEngine.open(config);
  await engine.close();
  await assert.rejects(engine.digest(), { code: 'ENGINE_FAILED' });
  await engine.close();
});
