import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeBody } from '../../worker/journal/codec.ts';
import { openEnvelope, sealRecord } from '../../worker/journal/envelope.ts';
import { type Followed, follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import { decodeProgress, progressOf } from '../../worker/journal/progress.ts';
import { joinOf, put, roundOf, started, wholeRun } from './fixture.ts';

function followed(ledger: Ledger, data: Uint8Array): Followed {
  const result = follow(ledger, { data });
  assert.ok('ledger' in result, 'ignored' in result ? result.ignored : '');
  return result;
}

function ignored(ledger: Ledger, data: Uint8Array): string {
  const result = follow(ledger, { data });
  assert.ok('ignored' in result);
  return result.ignored;
}

/** The entry with another kind of record in it. */
function ofKind(kind: number, entry: Uint8Array): Uint8Array {
  return entry.with(entry.length - openEnvelope(entry).body.length, kind);
}

describe('a log entry', () => {
  it('carries a record to a replica that has the same past', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      const result = followed(ledger, sealRecord(ledger, record));
      assert.deepEqual(result.record, record);
      assert.deepEqual(result.record, decodeBody(result.body, ledger));
      assert.deepEqual(result.ledger, put(ledger, record));
      ledger = result.ledger;
    }
  });

  it('says where the run stands without any other entry', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      const summary = decodeProgress(openEnvelope(sealRecord(ledger, record)).summaryBytes);
      ledger = put(ledger, record);
      assert.deepEqual(summary, progressOf(ledger));
    }
    const { evaluations, ...rest } = progressOf(ledger);
    assert.equal(rest.end, 'rounds');
    assert.equal(rest.totals.probes, 30);
    // The 6 of the round of signs take 2 bytes.
    assert.equal(rest.totals.payloadBytes, 26);
    assert.equal(evaluations.test?.last.count, 192);
  });

  it('that is repeated, or was written for another past, is ignored', () => {
    const ledger = started(2);
    const first = sealRecord(ledger, roundOf(ledger));
    const rival = sealRecord(ledger, roundOf(ledger, { attempt: 1, joins: [joinOf(9)] }));
    const next = followed(ledger, first).ledger;
    assert.match(ignored(next, first), /does not continue the chain/);
    assert.match(ignored(next, rival), /does not continue the chain/);
    assert.match(ignored(ledger, sealRecord(next, roundOf(next))), /does not continue the chain/);
  });

  it('with any byte changed is ignored, never applied as something else', () => {
    const ledger = started(2);
    const entry = sealRecord(ledger, roundOf(ledger, { joins: [joinOf(9)], loss: Number.NaN }));
    const sound = followed(ledger, entry).ledger;
    for (let at = 0; at < entry.length; at++)
      for (const mask of [1, 2, 4, 8, 16, 32, 64, 128]) {
        const data = entry.slice();
        data[at]! ^= mask;
        const result = follow(ledger, { data });
        // A body that says something else is somebody's record; only a summary that fits lets it count.
        if ('ledger' in result) assert.notDeepEqual(result.ledger.chain, sound.chain);
      }
  });

  it('of noise, of nothing or with an invalid record is ignored', () => {
    const ledger = started(2);
    assert.match(ignored(ledger, new Uint8Array(0)), /more bytes are due/);
    assert.match(ignored(ledger, new Uint8Array(100)), /not an entry of a run/);
    const entry = sealRecord(ledger, roundOf(ledger));
    assert.match(ignored(ledger, entry.subarray(0, entry.length - 1)), /more bytes are due/);
  });

  it('of another version or of an unknown kind is ignored in a run of ours: all who take part read what its genesis is of', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      const entry = sealRecord(ledger, record);
      if (ledger.genesis !== null) {
        assert.match(ignored(ledger, Uint8Array.of(0xb1, 2)), /version 2/);
        assert.match(ignored(ledger, entry.with(1, 2)), /version 2/);
        assert.match(ignored(ledger, ofKind(99, entry)), /kind 99/);
      }
      ledger = put(ledger, record);
    }
    assert.match(ignored(ledger, Uint8Array.of(0xb1, 2)), /version 2/, 'after the end too');
  });

  it('of another version or kind where the genesis is due stops the replica, which cannot read that run', () => {
    const genesis = sealRecord(emptyLedger(), wholeRun()[0]!);
    for (const data of [Uint8Array.of(0xb1, 2), genesis.with(1, 2)])
      assert.throws(() => follow(emptyLedger(), { data }), { code: 'RECORD_VERSION', message: /version 2/ });
    assert.throws(() => follow(emptyLedger(), { data: ofKind(99, genesis) }), {
      code: 'RECORD_UNKNOWN_KIND',
    });
  });

  it('is not sealed where its record cannot follow', () => {
    const ledger = started(2);
    assert.throws(() => sealRecord(ledger, roundOf(ledger, { leaves: [7] })), { code: 'RECORD_INVALID' });
  });
});
