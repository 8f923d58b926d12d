import { closeSync, fsyncSync, openSync, readSync, statSync } from 'node:fs';
import { OnebyteError } from '../errors.ts';
import { AppendFile, isDiskFull } from '../log/append-file.ts';
import { decodeBody } from './codec.ts';
import type { Followed } from './follow.ts';
import { advance, chainAfter, emptyLedger, type Ledger } from './ledger.ts';

/**
 * A journal file: 6 bytes of magic, 1 of format version, then per record the body's length (LEB128), the body, and the
 * first two bytes of the chain's value after it. The chain covers all bodies so far, so a corrupted one fails its own
 * check and every later one.
 */
export const JOURNAL_FORMAT = 1;
const MAGIC = Uint8Array.of(0x89, 0x31, 0x42, 0x4a, 0x0d, 0x0a);
export const JOURNAL_HEADER = Uint8Array.of(...MAGIC, JOURNAL_FORMAT);
const CHECK_BYTES = 2;
/** No body is larger; a longer length is a corrupted one. */
const MAX_BODY = 1 << 25;
const READ_CHUNK = 1 << 20;

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

/** One record as the file stores it. `chain`: the value after it. */
export function frame(body: Uint8Array, chain: Uint8Array): Uint8Array {
  const length: number[] = [];
  let rest = body.length;
  for (; rest >= 0x80; rest >>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Uint8Array.of(...length, rest), body, chain.subarray(0, CHECK_BYTES)]);
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
      const framed = nextFrame(input, ledger, number);
      if (framed === null) return { ledger, bytes: offset, truncated: null };
      if ('cut' in framed) return { ledger, bytes: offset, truncated: { bytes: framed.cut } };
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

  close(): void {
    fsyncSync(this.#file.fd);
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

interface Frame {
  readonly body: Uint8Array;
  readonly check: Uint8Array;
}

/** The next frame; null at the file's end; how many bytes there are of one that was cut off. */
function nextFrame(input: Input, ledger: Ledger, number: number): Frame | { cut: number } | null {
  const { offset } = input;
  let length = 0;
  let scale = 0;
  const head = input.peek(5);
  if (head.length === 0) return null;
  for (; ; scale++) {
    const byte = head[scale];
    if (byte === undefined && head.length < 5) return { cut: head.length };
    if (byte === undefined) throw corrupt(number, offset, 'its length is not a number');
    length += (byte & 0x7f) * 128 ** scale;
    if (byte >= 0x80) continue;
    if (byte === 0 && scale > 0) throw corrupt(number, offset, 'its length is not a number');
    break;
  }
  if (length === 0 || length > MAX_BODY) throw corrupt(number, offset, `its length is ${length}`);
  const headBytes = scale + 1;
  const all = input.peek(headBytes + length + CHECK_BYTES);
  if (all.length < headBytes + length + CHECK_BYTES) {
    if (all.length - headBytes < length) checkCut(all.subarray(headBytes), ledger, number, offset);
    return { cut: all.length };
  }
  input.skip(all.length);
  return {
    body: all.slice(headBytes, headBytes + length),
    check: all.subarray(headBytes + length),
  };
}

/** A record that was cut off ends too early; any other fault means that its length is wrong and nothing was cut. */
function checkCut(rest: Uint8Array, ledger: Ledger, number: number, offset: number): void {
  try {
    decodeBody(rest, ledger);
  } catch (error) {
    if (error instanceof OnebyteError && error.code === 'RECORD_TRUNCATED') return;
  }
  throw corrupt(number, offset, 'its length is wrong');
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
      remedy: 'Give the journal file of a run, such as runs/NAME/journal.',
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

/** Looks ahead in a file or in bytes without holding more of it than is asked for and one chunk. */
class Input {
  offset = 0;
  readonly #fd: number | null;
  readonly #size: number;
  #buffer: Uint8Array;
  /** The file's offset of the buffer's first byte. */
  #start = 0;

  constructor(source: string | Uint8Array) {
    this.#fd = typeof source === 'string' ? openSync(source, 'r') : null;
    this.#buffer = typeof source === 'string' ? new Uint8Array(0) : source;
    this.#size = typeof source === 'string' ? statSync(source).size : source.length;
  }

  /** The next `length` bytes, or what there is of them. */
  peek(length: number): Uint8Array {
    const wanted = Math.min(length, this.#size - this.offset);
    const at = this.offset - this.#start;
    if (at + wanted > this.#buffer.length) this.#fill(wanted);
    const from = this.offset - this.#start;
    return this.#buffer.subarray(from, from + wanted);
  }

  skip(length: number): void {
    this.offset += length;
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }

  #fill(wanted: number): void {
    const buffer = new Uint8Array(Math.min(Math.max(wanted, READ_CHUNK), this.#size - this.offset));
    let read = 0;
    while (read < buffer.length) {
      const count = readSync(this.#fd!, buffer, read, buffer.length - read, this.offset + read);
      if (count === 0) break;
      read += count;
    }
    this.#buffer = buffer.subarray(0, read);
    this.#start = this.offset;
  }
}
