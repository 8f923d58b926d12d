import { OnebyteError } from '../errors.ts';

/** Most UTF-8 bytes of a name or a location: no record grows without bound by what a member calls itself. */
export const MAX_TEXT = 1024;

/** Builds a record's bytes. Numbers that do not fit are a mistake of the caller: RECORD_INVALID. */
export class ByteWriter {
  #buffer = new Uint8Array(128);
  #view = new DataView(this.#buffer.buffer);
  #length = 0;

  byte(value: number): this {
    const at = this.#room(1);
    this.#buffer[at] = value;
    return this;
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  /** LEB128 of a whole number from 0 to 2**53 - 1. */
  varint(value: number, what: string): this {
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${what} is ${value}`);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.byte((rest % 128) | 0x80);
    return this.byte(rest);
  }

  /** Signed whole number of at most 31 bits, zigzag. */
  signed(value: number, what: string): this {
    if (!Number.isInteger(value) || Math.abs(value) >= 2 ** 30) throw invalid(`${what} is ${value}`);
    return this.varint(value >= 0 ? 2 * value : -2 * value - 1, what);
  }

  /** Length and UTF-8 bytes, at most `max` of them. */
  text(value: string, what: string, max = MAX_TEXT): this {
    if (!value.isWellFormed()) throw invalid(`${what} is not well-formed Unicode`);
    const bytes = new TextEncoder().encode(value);
    if (bytes.length > max) throw invalid(`${what} has ${bytes.length} bytes, at most ${max} are allowed`);
    return this.varint(bytes.length, what).raw(bytes);
  }

  /** Lower-case hex of exactly `length` bytes. */
  hex(value: string, length: number, what: string): this {
    if (value.length !== 2 * length || !/^[0-9a-f]*$/.test(value))
      throw invalid(`${what} is not ${2 * length} digits of lower-case hex: '${value}'`);
    return this.raw(Buffer.from(value, 'hex'));
  }

  float32(value: number): this {
    const at = this.#room(4);
    // The bits of a NaN are up to the engine and the processor; replicas must write the same ones.
    if (Number.isNaN(value)) this.#view.setUint32(at, 0x7fc00000, true);
    else this.#view.setFloat32(at, value, true);
    return this;
  }

  /** 16-bit float; see `halfLoss` for which values there are. */
  float16(value: number): this {
    const at = this.#room(2);
    if (Number.isNaN(value)) this.#view.setUint16(at, 0x7e00, true);
    else this.#view.setFloat16(at, value, true);
    return this;
  }

  finish(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }

  /** Makes room for so many bytes more. @returns where they begin */
  #room(bytes: number): number {
    const at = this.#length;
    const end = at + bytes;
    if (end > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, at));
      this.#buffer = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = end;
    return at;
  }
}

/**
 * Reads what `ByteWriter` wrote and accepts only the one way it writes each value. Every length is checked against
 * what is left before anything is allocated.
 * @throws OnebyteError RECORD_TRUNCATED where the bytes end too early, RECORD_INVALID otherwise.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    // Of a Buffer `slice` would give a view.
    this.#bytes = Buffer.isBuffer(bytes)
      ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      : bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  /** A copy, so that what is kept of a record does not keep the whole input alive. */
  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.slice(at, at + length);
  }

  varint(what: string, max = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (value > max) throw invalid(`${what} is over ${max}`);
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw invalid(`${what} is written with more bytes than it needs`);
        return value;
      }
      if (scale > 2 ** 49) throw invalid(`${what} is over ${max}`);
    }
  }

  /** The number of items that follow, each of at least `itemBytes` bytes. */
  count(what: string, itemBytes: number, max = Number.MAX_SAFE_INTEGER): number {
    const items = this.varint(what, max);
    if (items * itemBytes > this.left) throw truncated(items * itemBytes - this.left);
    return items;
  }

  signed(what: string): number {
    const value = this.varint(what, 2 ** 31 - 1);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  text(what: string, max = MAX_TEXT): string {
    const bytes = this.raw(this.count(what, 1, max));
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new OnebyteError('RECORD_INVALID', `${what} is not UTF-8`, { cause });
    }
  }

  hex(length: number): string {
    const at = this.#take(length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + at, length).toString('hex');
  }

  float32(): number {
    return this.#view.getFloat32(this.#take(4), true);
  }

  /** A 16-bit float, and its bits. */
  float16(): { readonly value: number; readonly bits: number } {
    const at = this.#take(2);
    return { value: this.#view.getFloat16(at, true), bits: this.#view.getUint16(at, true) };
  }

  end(): void {
    if (this.left > 0) throw invalid(`${this.left} bytes follow the record`);
  }

  #take(length: number): number {
    if (length > this.left) throw truncated(length - this.left);
    this.#at += length;
    return this.#at - length;
  }
}

function invalid(what: string): OnebyteError {
  return new OnebyteError('RECORD_INVALID', `not a record: ${what}`);
}

function truncated(missing: number): OnebyteError {
  return new OnebyteError('RECORD_TRUNCATED', `not a whole record: at least ${missing} more bytes are due`);
}
