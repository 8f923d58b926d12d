/**
 * The ordered log of one job. It is the run: every replica is a deterministic state machine that reads it.
 * Implementations: JetStream (production), embedded (one machine), simulated (seeded faults).
 * Entries are opaque bytes here; `worker/journal` gives them meaning.
 */
export interface LogEntry {
  /** 1 for the first entry of a log, then consecutive. */
  readonly seq: number;
  readonly data: Uint8Array;
}

/** What a tail delivers: entries in order, or the news that the log now ends before what was already delivered. */
export type LogEvent =
  | { readonly type: 'entry'; readonly entry: LogEntry }
  /** The log lost its tail (restored from an older copy, power loss): entries after `last` no longer exist. */
  | { readonly type: 'truncated'; readonly last: number };

export interface AppendOptions {
  /** Append only if this is the sequence of the log's last entry (0: the log is empty). */
  readonly expectedLast: number;
  /** Names this append for the implementation's own duplicate check; a retry of the same append repeats it. */
  readonly id: string;
}

export interface Log {
  /**
   * Appends one entry durably and resolves to its sequence.
   * @throws LogConflict when the log's last sequence is not `expectedLast` (somebody else committed).
   * @throws LogFull when the log's budget or the disk is exhausted; LogUnavailable when nobody answered in time.
   */
  append(data: Uint8Array, options: AppendOptions): Promise<number>;
  /** The last entry, or null of an empty log. */
  last(): Promise<LogEntry | null>;
  /** Entries `from`..`to` (inclusive; default: the last there is now), in order, then ends. */
  read(from: number, to?: number): AsyncIterable<LogEntry>;
  /** Entries from `from` on, for ever, until `signal` aborts (which ends the iteration without an error). */
  tail(from: number, signal: AbortSignal): AsyncIterable<LogEvent>;
  close(): Promise<void>;
}

export class LogConflict extends Error {
  override readonly name = 'LogConflict';
  /** The log's last sequence at the time of the refusal, where known. */
  readonly last: number | undefined;
  constructor(expected: number, last?: number) {
    super(`log moved on: expected last sequence ${expected}, found ${last ?? 'another'}`);
    this.last = last;
  }
}

export class LogFull extends Error {
  override readonly name = 'LogFull';
}

/** Nobody answered in time, or the connection is down. The append may or may not have happened: read to find out. */
export class LogUnavailable extends Error {
  override readonly name = 'LogUnavailable';
  /** What people can do about it, where the log is on a server. */
  readonly remedy: string | undefined;

  constructor(message: string, options: ErrorOptions & { readonly remedy?: string } = {}) {
    super(message, options);
    this.remedy = options.remedy;
  }
}
