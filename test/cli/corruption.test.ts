import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { type Replayed, replay } from '../../cli/replay.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import { JOURNAL_HEADER, readJournal } from '../../worker/journal/file.ts';
import { frame } from '../../worker/journal/frame.ts';
import { chainAfter } from '../../worker/journal/ledger.ts';
import { Sandbox } from './sandbox.ts';

async function journalOf(t: TestContext): Promise<{ sandbox: Sandbox; bytes: Buffer; digest: string }> {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job({ checkpoint: { everyRounds: 4 } });
  const { journal, digest } = await sandbox.run(job, '--out', sandbox.path('run'));
  return { sandbox, bytes: await readFile(journal), digest };
}

/** Codes by which a journal may be refused. */
const REFUSALS = ['JOURNAL_CORRUPT', 'JOURNAL_VERSION', 'RECORD_UNKNOWN_KIND', 'RECORD_VERSION'];

/** Replays bytes; an error has to be one that people can read. */
async function outcomeOf(sandbox: Sandbox, bytes: Uint8Array): Promise<Replayed | OnebyteError> {
  const path = sandbox.path('journal');
  await writeFile(path, bytes);
  try {
    return await replay(path, { model: sandbox.model });
  } catch (error) {
    assert.ok(error instanceof OnebyteError, String(error));
    assert.notEqual(error.code, 'INTERNAL', error.message);
    return error;
  }
}

test('whatever byte of a journal is changed, no replay takes it for the run that it was not', async (t) => {
  const { sandbox, bytes, digest } = await journalOf(t);
  const sound = await outcomeOf(sandbox, bytes);
  assert.ok(!(sound instanceof OnebyteError) && sound.digest === digest && sound.compared > 2);
  const counts = { refused: 0, mismatched: 0, cut: 0 };
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [1 << (at % 8), 0xff]) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= flip;
      const outcome = await outcomeOf(sandbox, damaged);
      if (outcome instanceof OnebyteError) {
        assert.ok(REFUSALS.includes(outcome.code), `byte ${at}: ${outcome.code}: ${outcome.message}`);
        counts.refused++;
      } else if (outcome.mismatch !== null) counts.mismatched++;
      else {
        // As if the file had been cut off: what was applied is sound, and it does not pass for the whole run.
        assert.ok(outcome.outcome.truncated !== null, `byte ${at} changed by ${flip} goes unnoticed`);
        assert.equal(outcome.outcome.ledger.end, null);
        counts.cut++;
      }
    }
  }
  assert.ok(counts.refused > 1.5 * bytes.length, JSON.stringify(counts));
});

test('wherever a journal is cut off, the records before are replayed and the cut is told', async (t) => {
  const { sandbox, bytes } = await journalOf(t);
  const ends = new Set<number>([JOURNAL_HEADER.length, bytes.length]);
  const digests = new Map<number, string>();
  for (const { offset } of readJournal(bytes)) ends.add(offset);
  let rounds = 0;
  for (let length = 0; length < bytes.length; length++) {
    const outcome = await outcomeOf(sandbox, bytes.subarray(0, length));
    if (outcome instanceof OnebyteError) {
      // Without its genesis it is no journal of any run.
      assert.equal(outcome.code, 'JOURNAL_CORRUPT');
      assert.equal(rounds, 0);
      continue;
    }
    const { mismatch, outcome: read, replica } = outcome;
    assert.equal(mismatch, null);
    assert.equal(read.truncated === null, ends.has(length), `cut at ${length}`);
    assert.ok(replica.ledger.totals.rounds >= rounds);
    rounds = replica.ledger.totals.rounds;
    digests.set(rounds, outcome.digest);
  }
  assert.equal(rounds, 12);
  assert.equal(digests.size, 13);
});

test('a sound record of an unknown kind is refused by name, never skipped', async (t) => {
  const { sandbox, bytes } = await journalOf(t);
  const parts: Uint8Array[] = [JOURNAL_HEADER];
  for (const { record, body, ledger, number } of readJournal(bytes)) {
    if (record.kind === 'end') break;
    parts.push(frame(body, ledger.chain));
    if (number !== 4) continue;
    const unknown = Uint8Array.of(0x3f, 1, 2, 3);
    parts.push(frame(unknown, chainAfter(ledger.chain, unknown)));
    break;
  }
  const outcome = await outcomeOf(sandbox, Buffer.concat(parts));
  assert.ok(outcome instanceof OnebyteError);
  assert.equal(outcome.code, 'RECORD_UNKNOWN_KIND');
  assert.match(outcome.message, /record 5 at byte \d+: .*63/);
  assert.ok(outcome.remedy);
});

test('a checkpoint that was told rounds later is held to the state of its own round', async (t) => {
  const { sandbox, bytes } = await journalOf(t);
  const entries = [...readJournal(bytes)];
  const truth = entries.find(({ record }) => record.kind === 'round' && record.round === 4 && record.digest);
  assert.ok(truth?.record.kind === 'round');
  const { digest: held } = truth.record;
  const sound = await outcomeOf(sandbox, bytes);
  assert.ok(!(sound instanceof OnebyteError));
  for (const digest of [held!, 'f'.repeat(64)]) {
    const ledger = entries.at(-2)!.ledger;
    const body = encodeBody({ kind: 'checkpoint', round: 4, digest, location: 'kept' }, ledger);
    const chain = chainAfter(ledger.chain, body);
    const end = entries.at(-1)!.body;
    const late = [frame(body, chain), frame(end, chainAfter(chain, end))];
    const before = entries.slice(0, -1).map((entry) => frame(entry.body, entry.ledger.chain));
    const outcome = await outcomeOf(sandbox, Buffer.concat([JOURNAL_HEADER, ...before, ...late]));
    assert.ok(!(outcome instanceof OnebyteError));
    if (digest === held) {
      assert.equal(outcome.mismatch, null);
      assert.equal(outcome.compared, sound.compared + 1);
    } else assert.deepEqual(outcome.mismatch, { round: 4, expected: digest, found: held });
    const earlier = await replay(sandbox.path('journal'), { model: sandbox.model, to: 3 });
    assert.equal(earlier.mismatch, null);
  }
});

test('a journal whose checks hold and whose digest is false fails its verification, and names the round', async (t) => {
  const { sandbox, bytes, digest } = await journalOf(t);
  for (const forged of ['genesis', 'end'] as const) {
    const parts: Uint8Array[] = [JOURNAL_HEADER];
    let chain: Uint8Array = new Uint8Array(32);
    let before = null;
    for (const { record, ledger } of readJournal(bytes)) {
      const lie = 'f'.repeat(64);
      const changed =
        record.kind !== forged
          ? record
          : record.kind === 'end'
            ? { ...record, digest: lie }
            : { ...record, state: lie };
      // The rest of a run whose genesis is another one cannot follow: it ends there.
      if (forged === 'genesis' && record.kind !== 'genesis') break;
      const body = encodeBody(changed as typeof record, before ?? ledger);
      chain = chainAfter(chain, body);
      parts.push(frame(body, chain));
      before = ledger;
    }
    const outcome = await outcomeOf(sandbox, Buffer.concat(parts));
    assert.ok(!(outcome instanceof OnebyteError), String(outcome));
    assert.deepEqual(outcome.mismatch, {
      round: forged === 'end' ? 12 : 0,
      expected: 'f'.repeat(64),
      found: outcome.digest,
    });
    if (forged === 'end') assert.equal(outcome.digest, digest);
    const command = await sandbox.onebyte('replay', sandbox.path('journal'), '--model', sandbox.model);
    assert.equal(command.code, 3);
    assert.match(command.stdout, /NOT VERIFIED: at round \d+ the journal says f{64}/);
    const refused = await sandbox.onebyte(
      'export',
      sandbox.path('journal'),
      '--model',
      sandbox.model,
      '--format',
      'onnx',
      '--out',
      sandbox.path('x'),
    );
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /^error JOURNAL_CORRUPT: /);
  }
});
