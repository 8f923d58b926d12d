import { closeSync, constants, fsyncSync, openSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { AppendFile, isDiskFull } from './append-file.ts';
import { takeLock } from './lock.ts';
import {
  type AppendOptions,
  type Log,
  LogConflict,
  type LogEntry,
  type LogEvent,
  LogFull,
  LogUnavailable,
} from './log.ts';
import { FRAME_HEAD, frameOf, LOG_HEADER, MAX_ENTRY, scanLog } from './log-file.ts';

/** Repeated ids are recognised over this many appends. */
const REMEMBERED_IDS = 1024;

export interface EmbeddedLogOptions {
  /** Whether an entry is on the disk before it is acknowledged. Off only where losing a run does not matter. */
  readonly fsync?: boolean;
  /** Bytes that the file may take; LogFull beyond. */
  readonly maxBytes?: number;
}

/** A log in one file of one machine. One process holds it; others reach it through `ipc.ts`. */
export class EmbeddedLog implements Log {
  /** Bytes of an unfinished write that were cut away when the log was opened; such an entry was never acknowledged. */
  readonly torn: number;
  readonly #file: AppendFile;
  readonly #offsets: number[];
  readonly #unlock: () => void;
  readonly #maxBytes: number;
  readonly #ids = new Map<string, number>();
  #changed = Promise.withResolvers<void>();
  #open = true;

  private constructor(
    file: AppendFile,
    offsets: number[],
    torn: number,
    unlock: () => void,
    maxBytes: number,
  ) {
    this.#file = file;
    this.#offsets = offsets;
    this.torn = torn;
    this.#unlock = unlock;
    this.#maxBytes = maxBytes;
  }

  /**
   * Opens the log at `path`, or makes it; its directory must be there.
   * @throws OnebyteError LOG_LOCKED (with the holder's process id), LOG_CORRUPT, LOG_VERSION; LogFull.
   */
  static async open(path: string, options: EmbeddedLogOptions = {}): Promise<EmbeddedLog> {
    const unlock = takeLock(`${path}.lock`);
    let fd: number | null = null;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
      const { offsets, bytes, torn } = scanLog(fd, path);
      const file = new AppendFile(fd, bytes, options.fsync ?? true);
      if (torn > 0) file.trim();
      if (bytes === 0) {
        file.append(LOG_HEADER);
        syncDirectory(path);
      }
      return new EmbeddedLog(file, offsets, torn, unlock, options.maxBytes ?? Number.POSITIVE_INFINITY);
    } catch (error) {
      if (fd !== null) closeSync(fd);
      unlock();
      throw isDiskFull(error)
        ? new LogFull(`there is no room for the log: ${path}`, { cause: error })
        : error;
    }
  }

  /** Sequence of the last entry. */
  get length(): number {
    return this.#offsets.length;
  }

  async append(data: Uint8Array, { expectedLast, id }: AppendOptions): Promise<number> {
    if (!this.#open) throw new LogUnavailable('the log is closed');
    const known = this.#ids.get(id);
    if (known !== undefined) return known;
    if (expectedLast !== this.length) throw new LogConflict(expectedLast, this.length);
    if (data.length > MAX_ENTRY)
      throw new LogFull(`an entry of ${data.length} bytes, at most ${MAX_ENTRY} fit`);
    const seq = this.length + 1;
    const frame = frameOf(seq, data);
    const offset = this.#file.bytes;
    if (offset + frame.length > this.#maxBytes)
      throw new LogFull(`the log's ${this.#maxBytes} bytes are used`);
    try {
      this.#file.append(frame);
    } catch (cause) {
      if (isDiskFull(cause)) throw new LogFull('there is no room for the log', { cause });
      throw new LogUnavailable('the log cannot be written', { cause });
    }
    this.#offsets.push(offset);
    this.#remember(id, seq);
    this.#wake();
    return seq;
  }

  async last(): Promise<LogEntry | null> {
    return this.length === 0 ? null : this.#entry(this.length);
  }

  async *read(from: number, to?: number): AsyncIterable<LogEntry> {
    const last = Math.min(to ?? this.length, this.length);
    for (let seq = Math.max(1, from); seq <= last; seq++) yield this.#entry(seq);
  }

  async *tail(from: number, signal: AbortSignal): AsyncIterable<LogEvent> {
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal.addEventListener('abort', abort, { once: true });
    try {
      for (let seq = Math.max(1, from); !signal.aborted && this.#open; )
        if (seq <= this.length) yield { type: 'entry', entry: this.#entry(seq++) };
        else await Promise.race([this.#changed.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Ends every tail and gives the lock back. */
  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#wake();
    this.#file.close();
    this.#unlock();
  }

  #entry(seq: number): LogEntry {
    if (!this.#open) throw new LogUnavailable('the log is closed');
    const start = this.#offsets[seq - 1]! + FRAME_HEAD;
    const end = this.#offsets[seq] ?? this.#file.bytes;
    const data = new Uint8Array(end - start);
    for (let at = 0; at < data.length; ) {
      const count = readSync(this.#file.fd, data, at, data.length - at, start + at);
      if (count === 0) throw new LogUnavailable(`the log's file became shorter than it was: entry ${seq}`);
      at += count;
    }
    return { seq, data };
  }

  #remember(id: string, seq: number): void {
    this.#ids.set(id, seq);
    if (this.#ids.size <= REMEMBERED_IDS) return;
    const [oldest] = this.#ids.keys();
    this.#ids.delete(oldest!);
  }

  #wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
  }
}

/** A new file's name is part of its directory, which has to reach the disk too. */
function syncDirectory(path: string): void {
  const fd = openSync(dirname(path), 'r');
  fsyncSync(fd);
  closeSync(fd);
}
