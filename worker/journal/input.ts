import { closeSync, openSync, readSync, statSync } from 'node:fs';

const READ_CHUNK = 1 << 20;

/** Looks ahead in a file or in bytes without holding more of it than is asked for and one chunk. */
export class Input {
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
