import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { OnebyteError } from '../../worker/errors.ts';
import { decodeBody, encodeBody } from '../../worker/journal/codec.ts';
import {
  JOURNAL_HEADER,
  type JournalEntry,
  JournalWriter,
  journalOutcome,
  readJournal,
} from '../../worker/journal/file.ts';
import { frame } from '../../worker/journal/frame.ts';
import { advance, chainAfter, emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';
import { genesisOf, jobSpec, joinOf, put, roundOf, wholeRun } from './fixture.ts';

const directory = mkdtempSync(join(tmpdir(), 'onebyte-journal-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'journal');

function entriesOf(records: readonly JournalRecord[]): Pick<JournalEntry, 'body' | 'ledger' | 'record'>[] {
  let ledger = emptyLedger();
  return records.map((record) => {
    const body = encodeBody(record, ledger);
    ledger = advance(ledger, decodeBody(body, ledger), body);
    return { body, ledger, record };
  });
}

function write(records: readonly JournalRecord[]): Uint8Array {
  const writer = JournalWriter.create(path);
  for (const entry of entriesOf(records)) writer.append(entry);
  writer.close();
  return new Uint8Array(readFileSync(path));
}

/** Where in the file each record begins, and the file's end. */
function borders(bytes: Uint8Array): number[] {
  return [...[...readJournal(bytes)].map(({ offset }) => offset), bytes.length];
}

function errorOf(bytes: Uint8Array): OnebyteError | null {
  try {
    journalOutcome(bytes);
    return null;
  } catch (error) {
    assert.ok(error instanceof OnebyteError, `${error}`);
    return error;
  }
}

const records = wholeRun();
const journal = write(records);
const whole = journalOutcome(journal);

describe('a journal file', () => {
  it('gives back what was written, from a path and from bytes', () => {
    writeFileSync(path, journal);
    for (const source of [path, journal]) {
      const read = [...readJournal(source)];
      assert.deepEqual(
        read.map(({ record }) => record),
        records,
      );
      assert.deepEqual(
        read.map(({ number }) => number),
        records.map((_, i) => i + 1),
      );
    }
    assert.equal(whole.truncated, null);
    assert.equal(whole.bytes, journal.length);
    assert.equal(whole.ledger.end?.reason, 'rounds');
  });

  it('reads files that are many times larger than what it holds at once', () => {
    const long = wholeRun(jobSpec({ probes: 1024, rounds: [600], every: 0 }));
    const bytes = write(long);
    assert.ok(bytes.length > 1.7e6);
    assert.deepEqual(journalOutcome(path).ledger, journalOutcome(bytes).ledger);
  });

  it('cut off anywhere gives everything before the cut and says how much is left over', () => {
    const ends = borders(journal);
    for (let length = JOURNAL_HEADER.length; length < journal.length; length++) {
      const outcome = journalOutcome(journal.subarray(0, length));
      const count = ends.filter((end) => end <= length).length - 1;
      assert.equal(outcome.ledger.records, count);
      const left = length - ends[count]!;
      assert.deepEqual(outcome.truncated, left === 0 ? null : { bytes: left });
      assert.equal(outcome.bytes, ends[count]);
    }
  });

  it('with any byte changed is refused, with the record and the byte where it begins', () => {
    const ends = borders(journal);
    for (let at = 0; at < journal.length; at++)
      for (const mask of [1, 2, 4, 8, 16, 32, 64, 128, 255, 0x55]) {
        const bytes = journal.slice();
        bytes[at]! ^= mask;
        const error = errorOf(bytes);
        assert.ok(error !== null, `byte ${at} ^ ${mask} went unnoticed`);
        if (at === JOURNAL_HEADER.length - 1) assert.equal(error.code, 'JOURNAL_VERSION');
        else assert.equal(error.code, 'JOURNAL_CORRUPT');
        if (at < JOURNAL_HEADER.length) continue;
        const number = ends.findLastIndex((end) => end <= at) + 1;
        assert.match(error.message, new RegExp(`^record ${number} at byte ${ends[number - 1]} `));
      }
  });

  it('of plain rounds without an end gives an error or less of itself, never something else', () => {
    const ledgers: Ledger[] = [emptyLedger()];
    const framed: Uint8Array[] = [JOURNAL_HEADER];
    const add = (record: JournalRecord) => {
      const body = encodeBody(record, ledgers.at(-1)!);
      ledgers.push(put(ledgers.at(-1)!, record));
      framed.push(frame(body, ledgers.at(-1)!.chain));
    };
    add(genesisOf(jobSpec({ rounds: [50] })));
    add(roundOf(ledgers.at(-1)!, { joins: [joinOf(0), joinOf(1)], bytes: [] }));
    for (const elapsed of [0, 127, 128, 20_000, 2 ** 31 - 1]) add(roundOf(ledgers.at(-1)!, { elapsed }));
    const bytes = new Uint8Array(Buffer.concat(framed));
    const start = framed.slice(0, 3).reduce((sum, piece) => sum + piece.length, 0);
    for (let at = start; at < bytes.length; at++)
      for (let mask = 1; mask < 256; mask++) {
        const changed = bytes.slice();
        changed[at]! ^= mask;
        try {
          const { ledger, truncated } = journalOutcome(changed);
          assert.ok(truncated !== null, `byte ${at} ^ ${mask} went unnoticed`);
          assert.deepEqual(ledger, ledgers[ledger.records]);
        } catch (error) {
          assert.ok(error instanceof OnebyteError && error.code === 'JOURNAL_CORRUPT', `${error}`);
        }
      }
  });

  it('with a byte removed or added never gives another ledger', () => {
    for (let at = 0; at < journal.length; at++)
      for (const bytes of [
        Uint8Array.of(...journal.subarray(0, at), ...journal.subarray(at + 1)),
        Uint8Array.of(...journal.subarray(0, at), 0x5a, ...journal.subarray(at)),
      ]) {
        let outcome: ReturnType<typeof journalOutcome>;
        try {
          outcome = journalOutcome(bytes);
        } catch (error) {
          assert.ok(error instanceof OnebyteError);
          continue;
        }
        assert.ok(outcome.truncated !== null, `byte ${at}`);
        const upTo = entriesOf(records.slice(0, outcome.ledger.records)).at(-1)?.ledger ?? emptyLedger();
        assert.deepEqual(outcome.ledger, upTo);
      }
  });

  it('of a kind of record that this version does not know is refused by its number, not as corrupted', () => {
    const body = Uint8Array.of(77, 1, 2, 3);
    const entries = entriesOf(records.slice(0, 3));
    const chain = chainAfter(entries.at(-1)!.ledger.chain, body);
    const start = borders(journal)[3]!;
    const error = errorOf(Uint8Array.of(...journal.subarray(0, start), ...frame(body, chain)));
    assert.equal(error?.code, 'RECORD_UNKNOWN_KIND');
    assert.match(error.message, /record 4 at byte \d+: a record of kind 77/);
  });

  it('whose record cannot follow is corrupted, even with a good check', () => {
    const second = entriesOf(records)[1]!;
    const start = borders(journal)[2]!;
    const chain = chainAfter(second.ledger.chain, second.body);
    const error = errorOf(Uint8Array.of(...journal.subarray(0, start), ...frame(second.body, chain)));
    assert.equal(error?.code, 'JOURNAL_CORRUPT');
  });

  it('that is empty, or something else, is refused', () => {
    assert.equal(errorOf(new Uint8Array(0))?.code, 'JOURNAL_CORRUPT');
    assert.equal(errorOf(new TextEncoder().encode('{"not": "a journal"}'))?.code, 'JOURNAL_CORRUPT');
  });

  it('is gone on with after a torn record, which is cut away', () => {
    const entries = entriesOf(records);
    writeFileSync(path, journal);
    truncateSync(path, borders(journal)[5]! + 3);
    const { writer, ledger } = JournalWriter.resume(path, { fsync: true });
    assert.equal(ledger.records, 5);
    for (const entry of entries.slice(5)) writer.append(entry);
    assert.equal(writer.bytes, journal.length);
    writer.close();
    assert.deepEqual(new Uint8Array(readFileSync(path)), journal);
  });

  it('on a full disk keeps its last whole record and says what to do', () => {
    const [genesis] = entriesOf(records);
    // A device that accepts to be opened and refuses every write for want of space.
    assert.throws(() => JournalWriter.create('/dev/full').append(genesis!), { code: 'DISK_FULL' });
  });
});
