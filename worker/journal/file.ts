import { fsyncSync, openSync } from 'node:fs';
import { OnebyteError } from '../errors.ts';
import { AppendFile, isDiskFull } from '../log/append-file.ts';
import { decodeBody } from './codec.ts';
import type { Followed } from './follow.ts';
import { type Frame, frame, readFrame } from './frame.ts';
import { Input } from './input.ts';
import { advance, chainAfter, emptyLedger, type Ledger } from './ledger.ts';

/** A journal file: 6 bytes of magic, 1 of format version, then the records' frames. */
export const JOURNAL_FORMAT = 1;
const MAGIC = Uint8Array.of(0x89, 0x31, 0x42, 0x4a, 0x0d, 0x0a);
export const JOURNAL_HEADER = Uint8Array.of(...MAGIC, JOURNAL_FORMAT);

export interface JournalEntry extends Followed {
  /** 1 for the genesis. */
  readonly number: number;
  /** Where in the file the record begins. */
  readonly offset: number;
}

export interface JournalOutcome {
  /** After the last whole record. */
  readonly ledger: Ledger;
  /** Bytes of the file up to there. */
  readonly bytes: number;
  /** The last record was cut off; everything before it was returned. */
  readonly truncated: { readonly bytes: number } | null;
}

/**
 * The records of a journal in order, read bit by bit; returns how it ended.
 * @param source a path, or the file's bytes
 * @throws OnebyteError JOURNAL_CORRUPT with the record's number and the byte where it begins; JOURNAL_VERSION for
 *   another format; RECORD_UNKNOWN_KIND for a sound record of a kind that this version does not know.
 */
export function* readJournal(source: string | Uint8Array): Generator<JournalEntry, JournalOutcome> {
  const input = new Input(source);
  try {
    checkHeader(input.peek(JOURNAL_HEADER.length));
    input.skip(JOURNAL_HEADER.length);
    let ledger = emptyLedger();
    for (;;) {
      const offset = input.offset;
      const number = ledger.records + 1;
      const framed = readFrame(input, ledger);
      if (framed === 'end') return { ledger, bytes: offset, truncated: null };
      if ('cut' in framed) return { ledger, bytes: offset, truncated: { bytes: framed.cut } };
      if ('wrong' in framed) throw corrupt(number, offset, framed.wrong);
      const entry = open(framed, ledger, number, offset);
      ledger = entry.ledger;
      yield entry;
    }
  } finally {
    input.close();
  }
}

/** Reads a journal to its end. */
export function journalOutcome(source: string | Uint8Array): JournalOutcome {
  const reader = readJournal(source);
  for (;;) {
    const { done, value } = reader.next();
    if (done) return value;
  }
}

/** Writes a journal file, one record at a time. */
export class JournalWriter {
  readonly #file: AppendFile;

  private constructor(file: AppendFile) {
    this.#file = file;
  }

  /** A new journal; one that is there is replaced. */
  static create(path: string, options: { fsync?: boolean } = {}): JournalWriter {
    const writer = new JournalWriter(new AppendFile(openSync(path, 'w'), 0, options.fsync ?? false));
    writer.#append(JOURNAL_HEADER);
    return writer;
  }

  /** Goes on after the last whole record of a journal that is there; what is cut off is removed. */
  static resume(path: string, options: { fsync?: boolean } = {}): { writer: JournalWriter; ledger: Ledger } {
    const { ledger, bytes } = journalOutcome(path);
    const file = new AppendFile(openSync(path, 'r+'), bytes, options.fsync ?? false);
    file.trim();
    return { writer: new JournalWriter(file), ledger };
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#file.bytes;
  }

  /** @throws OnebyteError DISK_FULL; the file then still ends with its last whole record. */
  append({ body, ledger }: Pick<Followed, 'body' | 'ledger'>): void {
    this.#append(frame(body, ledger.chain));
  }

  /** What was written is on the disk on return. */
  sync(): void {
    fsyncSync(this.#file.fd);
  }

  close(): void {
    this.sync();
    this.#file.close();
  }

  #append(bytes: Uint8Array): void {
    try {
      this.#file.append(bytes);
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      throw new OnebyteError('DISK_FULL', 'there is no room for the journal', {
        cause,
        remedy: 'Make room on the disk and start the run again; it goes on where it was.',
      });
    }
  }
}

function open({ body, check }: Frame, ledger: Ledger, number: number, offset: number): JournalEntry {
  const chain = chainAfter(ledger.chain, body);
  if (check.some((byte, i) => byte !== chain[i])) throw corrupt(number, offset, 'its check does not hold');
  try {
    const record = decodeBody(body, ledger);
    return { number, offset, record, body, ledger: advance(ledger, record, body) };
  } catch (error) {
    if (!(error instanceof OnebyteError)) throw error;
    // The check holds, so this is what was written: by a newer version, not by a failing disk.
    if (error.code === 'RECORD_UNKNOWN_KIND')
      throw new OnebyteError(error.code, `record ${number} at byte ${offset}: ${error.message}`, {
        ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
        cause: error,
      });
    throw corrupt(number, offset, error.message, error);
  }
}

function checkHeader(header: Uint8Array): void {
  const magic = header.length === JOURNAL_HEADER.length && MAGIC.every((byte, i) => header[i] === byte);
  if (!magic)
    throw new OnebyteError('JOURNAL_CORRUPT', 'this is no journal: its first bytes are not those of one', {
      remedy: 'Give the journal file of a run, such as runs/NAME/journal.onebyte.',
    });
  const version = header[MAGIC.length];
  if (version !== JOURNAL_FORMAT)
    throw new OnebyteError(
      'JOURNAL_VERSION',
      `a journal of format version ${version}; this program reads version ${JOURNAL_FORMAT}`,
      { remedy: 'Read it with the version of onebyte that wrote it, or a newer one.' },
    );
}

function corrupt(number: number, offset: number, what: string, cause?: unknown): OnebyteError {
  return new OnebyteError('JOURNAL_CORRUPT', `record ${number} at byte ${offset} is corrupted: ${what}`, {
    cause,
    remedy: 'Take another copy of the journal; up to the record before, this one is sound.',
  });
}
