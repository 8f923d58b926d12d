import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { OnebyteError } from '../../worker/errors.ts';
import { MAX_TEXT } from '../../worker/journal/bytes.ts';
import { decodeBody, encodeBody } from '../../worker/journal/codec.ts';
import { emptyLedger, type Ledger, SPLITS } from '../../worker/journal/ledger.ts';
import type { JournalRecord, RoundRecord } from '../../worker/journal/record.ts';
import { canonicalRound, halfLoss } from '../../worker/journal/round.ts';
import { DIGEST, genesisOf, jobSpec, joinOf, put, roundOf, started, wholeRun } from './fixture.ts';
import { signs } from './signs.ts';

const CODES = ['RECORD_INVALID', 'RECORD_TRUNCATED', 'RECORD_UNKNOWN_KIND'];

/** The record, or null where it was refused with one of the documented codes. */
function decodeOrNull(bytes: Uint8Array, ledger: Ledger): JournalRecord | null {
  try {
    return decodeBody(bytes, ledger);
  } catch (error) {
    assert.ok(error instanceof OnebyteError && CODES.includes(error.code), `${error}`);
    return null;
  }
}

function code(bytes: Uint8Array, ledger: Ledger): string {
  try {
    decodeBody(bytes, ledger);
    return 'none';
  } catch (error) {
    return (error as OnebyteError).code;
  }
}

/** Any round record that three members with at most four probes can make, valid in its form if not in its meaning. */
const PLAIN = { noNullPrototype: true } as const;
const threeOf = (bytes: fc.Arbitrary<Uint8Array>) => fc.array(bytes, { minLength: 3, maxLength: 3 });
const anyRound: fc.Arbitrary<RoundRecord> = fc.record(
  {
    kind: fc.constant('round' as const),
    round: fc.constant(0),
    attempt: fc.nat(300),
    elapsed: fc.double({ min: -5, max: 2 ** 32, noNaN: true }),
    loss: fc.double(),
    bytes: fc.oneof(threeOf(fc.uint8Array({ maxLength: 4 })), threeOf(signs(4))),
    joins: fc.array(
      fc.record(
        {
          id: fc.stringMatching(/^[0-9a-f]{16}$/),
          name: fc.string({ unit: 'grapheme' }),
          group: fc.string(),
          examples: fc.nat(),
        },
        PLAIN,
      ),
      { maxLength: 3 },
    ),
    leaves: fc.uniqueArray(fc.nat(2)).map((slots) => slots.sort((a, b) => a - b)),
    evaluations: fc.array(
      fc.record(
        {
          split: fc.constantFrom(...SPLITS),
          slot: fc.nat(2),
          count: fc.nat(),
          lossSum: fc.float(),
          correct: fc.nat(),
        },
        PLAIN,
      ),
      { maxLength: 4 },
    ),
    digest: fc.option(fc.constant(DIGEST)),
  },
  PLAIN,
);

describe('a record in bytes', () => {
  it('comes back as it was, whatever its kind', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      assert.deepEqual(decodeBody(encodeBody(record, ledger), ledger), record);
      ledger = put(ledger, record);
    }
    const artifact = { name: 'basis', digest: DIGEST, bytes: 2 ** 40 };
    const record = { kind: 'artifact', artifact, location: 'blobs/basis' } as const;
    assert.deepEqual(decodeBody(encodeBody(record, ledger), ledger), record);
  });

  it('comes back from any round record as the numbers that the format can hold', () => {
    const ledger = started(3, jobSpec({ probes: 4 }));
    fc.assert(
      fc.property(anyRound, (record) => {
        assert.deepEqual(decodeBody(encodeBody(record, ledger), ledger), canonicalRound(record));
      }),
    );
  });

  it('costs at most 5 bytes beside the probes of a plain round', () => {
    const ledger = started(4, jobSpec({ probes: 16 }));
    assert.ok(encodeBody(roundOf(ledger, { elapsed: 16_000 }), ledger).length <= 64 + 5);
    assert.equal(encodeBody(roundOf(ledger, { elapsed: 127 }), ledger).length, 64 + 4);
  });

  it('has one encoding: whatever bytes are read as a round are written the same', () => {
    const ledger = started(3, jobSpec({ probes: 2 }));
    const mutation = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(anyRound, fc.array(mutation, { minLength: 1, maxLength: 3 }), (record, mutations) => {
        const bytes = encodeBody({ ...record, bytes: record.bytes.map((b) => b.slice(0, 2)) }, ledger);
        for (const [at, mask] of mutations) bytes[at % bytes.length]! ^= mask;
        const read = decodeOrNull(bytes, ledger);
        if (read !== null) assert.deepEqual(encodeBody(read, ledger), bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused with a code, never misread, when any of its bytes changes', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      const body = encodeBody(record, ledger);
      for (let at = 0; at < body.length; at++)
        for (const mask of [1, 2, 4, 8, 16, 32, 64, 128, 255]) {
          const bytes = body.slice();
          bytes[at]! ^= mask;
          const read = decodeOrNull(bytes, ledger);
          if (read === null || read.kind === 'genesis') continue;
          assert.deepEqual(encodeBody(read, ledger), bytes);
        }
      ledger = put(ledger, record);
    }
  });

  it('is called truncated wherever it is cut off, and only then', () => {
    let ledger = emptyLedger();
    for (const record of wholeRun()) {
      const body = encodeBody(record, ledger);
      for (let length = 0; length < body.length; length++)
        assert.equal(code(body.subarray(0, length), ledger), 'RECORD_TRUNCATED');
      assert.equal(code(Uint8Array.of(...body, 0), ledger), 'RECORD_INVALID');
      ledger = put(ledger, record);
    }
  });

  it('survives any noise with a documented code', () => {
    const ledger = started(3);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.boolean(), (bytes, bare) => {
        decodeOrNull(bytes, bare ? emptyLedger() : ledger);
      }),
      { numRuns: 2000 },
    );
  });

  it('of an unknown kind is refused with its number and the version that does not know it', () => {
    assert.throws(() => decodeBody(Uint8Array.of(9, 1, 2), started(1)), {
      code: 'RECORD_UNKNOWN_KIND',
      message: /kind 9, which format version 1 does not know/,
    });
  });

  it('of signs is packed, and of anything else, or of nothing, is not', () => {
    const ledger = started(1);
    // flags, loss, elapsed, then two probes or none
    const [full, signs] = [0x81, 0x40];
    assert.equal(code(Uint8Array.of(full | signs, 0, 0, 0, 1 + 3 * 2), ledger), 'none');
    assert.equal(code(Uint8Array.of(full, 0, 0, 0, 1, 0x81), ledger), 'RECORD_INVALID');
    assert.equal(code(Uint8Array.of(full | signs, 0, 0, 0, 9), ledger), 'RECORD_INVALID');
    assert.equal(code(Uint8Array.of(0x80 | signs, 0, 0, 0, 0), ledger), 'RECORD_INVALID');
  });

  it('claims no more than it has: a huge list in a few bytes is refused before it is made', () => {
    const ledger = started(1);
    // flags: joins; loss; elapsed; 2**49 joins
    const huge = Uint8Array.of(0x84, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1);
    assert.equal(code(huge, ledger), 'RECORD_TRUNCATED');
  });

  it('of a genesis does not inflate beyond its stated length', () => {
    const spec = { ...jobSpec(), padding: 'u'.repeat(5000) };
    const record = genesisOf(spec);
    const body = encodeBody(record, emptyLedger());
    assert.ok(body.length < 2000);
    assert.deepEqual(decodeBody(body, emptyLedger()), record);
    const at = 1 + 6 + 3 * 32; // kind, time, digests: here the stated length begins
    const lied = body.slice();
    assert.ok(lied[at]! >= 0x80);
    lied[at]! ^= 0x10;
    assert.equal(code(lied, emptyLedger()), 'RECORD_INVALID');
    const huge = genesisOf({ ...spec, padding: 'u'.repeat(1 << 20) } as typeof spec);
    assert.throws(() => encodeBody(huge, emptyLedger()), { code: 'RECORD_INVALID' });
  });

  it('holds names and locations up to a limit, so that no member makes records large', () => {
    const ledger = started(1);
    const named = (name: string) => roundOf(ledger, { joins: [{ ...joinOf(1), name }] });
    const fits = named('x'.repeat(MAX_TEXT));
    assert.deepEqual(decodeBody(encodeBody(fits, ledger), ledger), fits);
    assert.throws(() => encodeBody(named('x'.repeat(MAX_TEXT + 1)), ledger), { message: /at most 1024/ });
  });

  it('refuses to write what could not be read', () => {
    const ledger = started(1);
    const refuse = (record: JournalRecord) =>
      assert.throws(() => encodeBody(record, ledger), { code: 'RECORD_INVALID' });
    refuse(roundOf(ledger, { round: 3 }));
    refuse(roundOf(ledger, { bytes: [] }));
    refuse(roundOf(ledger, { joins: [{ ...joinOf(1), id: '12' }] }));
    refuse(roundOf(ledger, { joins: [{ ...joinOf(1), name: '\ud800' }] }));
    refuse({ kind: 'checkpoint', round: -1, digest: DIGEST, location: '' });
    refuse({ kind: 'checkpoint', round: 1, digest: 'AB', location: '' });
    refuse({ kind: 'end', round: 1, digest: DIGEST, reason: 'tired' as 'rounds' });
  });
});

describe('a loss in 16 bits', () => {
  it('keeps ordinary losses to 3 digits, clamps large ones and has one zero', () => {
    assert.ok(Math.abs(halfLoss(0.6875) - 0.6875) < 0.0003);
    assert.equal(halfLoss(1e9), 65504);
    assert.equal(halfLoss(Number.POSITIVE_INFINITY), 65504);
    assert.ok(Object.is(halfLoss(-0), 0));
    assert.ok(Object.is(halfLoss(-1e-30), 0));
    assert.ok(Number.isNaN(halfLoss(Number.NaN)));
  });
});
