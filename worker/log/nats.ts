import { headers, type NatsConnection } from '@nats-io/transport-node';
import { API_CODES, Api, ApiError, type ApiOptions, parse } from '../nats/api.ts';
import { unavailable } from '../nats/failure.ts';
import { HEADERS, type JobNames } from '../nats/names.ts';
import { Prints } from '../nats/prints.ts';
import { Reader } from '../nats/reader.ts';
import { Tail } from '../nats/tail.ts';
import {
  type AppendOptions,
  type Log,
  LogConflict,
  type LogEntry,
  type LogEvent,
  LogFull,
  LogUnavailable,
} from './log.ts';

/** Room for the headers of an append within the server's largest message. */
const HEADERS_SIZE = 512;
const BATCH = 512;
const BATCH_BYTES = 1 << 18;
/** Pauses for a server that lags behind the one that leads, and how many, before reading from that one. */
const LAG_PAUSE = 20;
const LAG_TRIES = 5;

/** A job's log on NATS JetStream, in the stream that `createStream` makes. The connection stays its owner's. */
export class NatsLog implements Log {
  readonly #api: Api;
  readonly #names: JobNames;
  readonly #reader: Reader;
  readonly #tails = new Set<Tail>();
  /** Of the tail that ended last: where the next one goes on, it knows what it goes on from. */
  #prints = new Prints(1);
  #ahead: readonly LogEntry[] = [];
  #open = true;

  constructor(connection: NatsConnection, names: JobNames, options: ApiOptions = {}) {
    this.#api = new Api(connection, options);
    this.#names = names;
    this.#reader = new Reader(this.#api, names);
  }

  async append(data: Uint8Array, { expectedLast, id }: AppendOptions): Promise<number> {
    this.#check();
    const copy = new Uint8Array(data);
    const room = (this.#api.connection.info?.max_payload ?? 1 << 20) - HEADERS_SIZE;
    if (copy.length > room) throw new LogFull(`an entry of ${copy.length} bytes, at most ${room} fit`);
    const until = performance.now() + this.#api.timeoutMs;
    const answer = await this.#api.send(this.#names.log, copy, until, () => {
      const made = headers();
      made.set(HEADERS.id, id);
      made.set(HEADERS.expectedLast, `${expectedLast}`);
      return made;
    });
    try {
      const { seq } = parse<{ seq: number }>(answer);
      for (const tail of this.#tails) tail.expect(seq);
      return seq;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return this.#refused(error, expectedLast, id);
    }
  }

  /** What to make of a refusal. An append whose acknowledgement was lost is found in the log, under its id. */
  async #refused(error: ApiError, expectedLast: number, id: string): Promise<number> {
    const { code, message } = error;
    if (code === API_CODES.wrongLast || code === API_CODES.wrongLastUnknown) {
      const known = /(\d+)\s*$/.exec(message)?.[1];
      const last = known === undefined ? undefined : Number(known);
      if (last === undefined || last > expectedLast) {
        const there = await this.#reader.at(expectedLast + 1);
        if (there?.id === id) return there.seq;
      }
      if (last !== undefined) for (const tail of this.#tails) tail.endsAt(last);
      throw new LogConflict(expectedLast, last);
    }
    const full =
      code === API_CODES.storageExceeded ||
      code === API_CODES.messageTooLarge ||
      code === API_CODES.accountStorage ||
      (code === API_CODES.storeFailed && /maximum|no space|insufficient|exceed/i.test(message));
    if (full) throw new LogFull(`the log takes no more: ${message}`, { cause: error });
    throw unavailable(`the log refused an append: ${message}`, error);
  }

  async last(): Promise<LogEntry | null> {
    this.#check();
    const stored = await this.#reader.last();
    return stored === null ? null : { seq: stored.seq, data: stored.data };
  }

  async *read(from: number, to = Number.POSITIVE_INFINITY): AsyncIterable<LogEntry> {
    this.#check();
    let next = Math.max(1, from);
    let end: number | null = null;
    for (let tries = 0; next <= to; ) {
      const { entries, pending } = await this.#reader.batch(
        next,
        Math.min(BATCH, to - next + 1),
        BATCH_BYTES,
      );
      for (const entry of entries) {
        if (entry.seq !== next || next > to) break;
        next++;
        yield entry;
      }
      if (pending > 0 || next > to) continue;
      end ??= (await this.#reader.last())?.seq ?? 0;
      if (next > end) return;
      if (tries++ < LAG_TRIES) await new Promise((resolve) => setTimeout(resolve, LAG_PAUSE));
      else {
        const entry = await this.#reader.at(next);
        if (entry === null) return;
        next++;
        yield { seq: entry.seq, data: entry.data };
      }
    }
  }

  tail(from: number, signal: AbortSignal): AsyncIterable<LogEvent> {
    if (signal.aborted) return nothing();
    this.#check();
    const prints = this.#prints.before(Math.max(1, from));
    const tail = new Tail(this.#api, this.#names, this.#reader, prints, this.#ahead);
    this.#ahead = [];
    const stop = () => tail.end();
    signal.addEventListener('abort', stop, { once: true });
    this.#tails.add(tail);
    return tail.events(() => {
      signal.removeEventListener('abort', stop);
      this.#tails.delete(tail);
      this.#prints = tail.prints;
    });
  }

  /**
   * Hands the next tail entries that came another way, for it to begin with those that it would read next. What the log
   * does not hold of them it takes back as if the log had lost it.
   */
  offer(entries: readonly LogEntry[]): void {
    this.#ahead = entries;
  }

  /** Ends its tails; the connection goes on. */
  async close(): Promise<void> {
    this.#open = false;
    for (const tail of this.#tails) tail.end();
  }

  #check(): void {
    if (!this.#open) throw new LogUnavailable('the log is closed');
  }
}

async function* nothing(): AsyncGenerator<never, void, undefined> {}
