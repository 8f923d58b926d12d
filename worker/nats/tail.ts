import type { Subscription } from '@nats-io/transport-node';
import type { LogEntry, LogEvent } from '../log/log.ts';
import { LogUnavailable } from '../log/log.ts';
import type { Api } from './api.ts';
import { connectionError, deniedError, unavailable } from './failure.ts';
import type { JobNames } from './names.ts';
import { common, type Prints } from './prints.ts';
import { entryOf, type Reader } from './reader.ts';

/** Entries of a batch while catching up, and its bytes. */
const BATCH = 512;
const BATCH_BYTES = 1 << 18;
/** Live entries kept while catching up; more are read again from the log. */
const MAX_WAITING = 1024;
/**
 * Milliseconds of silence after which the log is asked whether there is something new, at least and at most; in between,
 * so many times what entries were apart.
 */
const SHORTEST_IDLE = 1000;
const LONGEST_IDLE = 10_000;
const IDLE_GAPS = 3;
/** How soon it is asked where there should be something. */
const EXPECTED = 200;
const RETRY = 250;

/**
 * One reader's way along the log. Live entries are what the server republishes; whatever may be missing (at first, after
 * a gap, a lost connection, a silence) is read from the log itself, from the last known entry on, which by the way shows
 * whether that entry is still what it was.
 */
export class Tail {
  readonly prints: Prints;
  #ahead: readonly LogEntry[];
  readonly #api: Api;
  readonly #names: JobNames;
  readonly #reader: Reader;
  #expected = 0;
  #waiting: LogEntry[] = [];
  #behind = true;
  /** Whether what waits, and what was asked for, may be of a log that is no more. */
  #doubt = true;
  #checkAt = 0;
  #timerAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #idle = SHORTEST_IDLE;
  /** Smoothed, between entries. */
  #gap = 0;
  #deliveredAt = 0;
  #ended = false;
  #failure: unknown = null;
  #wake = () => {};

  /**
   * @param prints of what the reader has, up to the entry before `from`
   * @param ahead what may be the entries that follow; where the log does not hold them, that is told like a lost tail
   */
  constructor(api: Api, names: JobNames, reader: Reader, prints: Prints, ahead: readonly LogEntry[] = []) {
    this.#ahead = ahead;
    this.#api = api;
    this.#names = names;
    this.#reader = reader;
    this.prints = prints;
  }

  /** The sequence to deliver next. */
  get next(): number {
    return this.prints.last + 1;
  }

  /** Ends the iteration as soon as its reader asks for more. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** The log is known to reach `seq`. */
  expect(seq: number): void {
    if (seq < this.next) return;
    this.#expected = seq;
    this.#checkAt = Math.min(this.#checkAt, performance.now() + EXPECTED);
    this.#wake();
  }

  /** The log is said to end at `last`. */
  endsAt(last: number): void {
    if (last >= this.next) this.expect(last);
    else if (last < this.prints.last) {
      this.#suspect();
      this.#wake();
    }
  }

  /** @param onEnd is called once nobody reads any more */
  async *events(onEnd: () => void): AsyncGenerator<LogEvent, void, undefined> {
    const { connection, link } = this.#api;
    const subscription = this.#subscribe();
    const unlink = link.onChange((up) => {
      if (up) this.#suspect();
      this.#wake();
    });
    try {
      this.#deliveredAt = performance.now();
      this.#rest();
      for (const entry of this.#ahead)
        if (!this.#ended && entry.seq === this.next) yield this.#deliver(entry);
      this.#ahead = [];
      while (!this.#ended) {
        if (this.#failure !== null) throw this.#failure;
        if (connection.isClosed()) throw await this.#closed();
        if (this.#behind && link.up) yield* this.#catchUp();
        else if (this.#behind) await this.#sleepFor(LONGEST_IDLE);
        else {
          const entry = this.#live();
          if (entry !== null) yield this.#deliver(entry);
          else if (!this.#behind) await this.#sleep();
        }
      }
    } finally {
      clearTimeout(this.#timer);
      unlink();
      subscription.unsubscribe();
      onEnd();
    }
  }

  #subscribe(): Subscription {
    return this.#api.connection.subscribe(this.#names.tail, {
      callback: (error, message) => {
        if (error !== null) this.#failure = deniedError(error);
        else this.#receive(entryOf(message));
        this.#wake();
      },
    });
  }

  #receive(entry: LogEntry | null): void {
    if (entry === null) return;
    this.#waiting.push(entry);
    if (this.#waiting.length > MAX_WAITING) {
      this.#drop();
      this.#suspect();
    }
  }

  /** The next of the entries that wait; null where there is none, or the log has to be asked first. */
  #live(): LogEntry | null {
    let done = 0;
    let next: LogEntry | null = null;
    for (const entry of this.#waiting) {
      if (entry.seq === this.next) next = entry;
      else if (entry.seq > this.next || (entry.seq >= this.prints.from && !this.prints.fits(entry))) {
        // Either something was missed on the way, or the log went back and grew anew.
        this.#suspect();
        break;
      }
      // Others are known: they came twice, by a read and as news.
      done++;
      if (next !== null) break;
    }
    this.#waiting.splice(0, done);
    return next;
  }

  #deliver(entry: LogEntry): LogEvent {
    this.prints.add(entry);
    const now = performance.now();
    this.#gap += (now - this.#deliveredAt - this.#gap) / 8;
    this.#deliveredAt = now;
    this.#rest();
    return { type: 'entry', entry };
  }

  /** What comes next has to be read from the log as it is from now on. */
  #suspect(): void {
    this.#behind = true;
    this.#doubt = true;
  }

  /** What waits may be of a log that is no more; the log itself is about to be read. */
  #drop(): void {
    const last = this.#waiting.at(-1);
    if (last !== undefined) this.#expected = last.seq;
    this.#waiting = [];
  }

  async *#catchUp(): AsyncGenerator<LogEvent, void, undefined> {
    this.#behind = false;
    try {
      while (!this.#ended) {
        if (this.#doubt) this.#drop();
        this.#doubt = false;
        // The last known entry comes along, where there is one: that it is still there cannot be told otherwise.
        const { next } = this;
        const known = this.prints.values.length > 0;
        const { entries, pending } = await this.#reader.batch(known ? next - 1 : next, BATCH, BATCH_BYTES);
        // The answer may be of the log before what is doubted, or after it.
        if (this.#doubt) continue;
        const first = entries[0];
        if (known && !(first?.seq === next - 1 && this.prints.fits(first))) {
          const last = await common(this.#reader, this.prints);
          if (last !== null) {
            this.prints.cut(last);
            this.#expected = 0;
            this.#doubt = true;
            yield { type: 'truncated', last };
            continue;
          }
        }
        for (const entry of entries) {
          if (this.#ended) return;
          if (entry.seq === this.next) yield this.#deliver(entry);
        }
        if (pending > 0 && this.next > next) continue;
        if (pending === 0 && (this.next > next || !this.#isDue())) break;
        // Whoever answered lags behind, or one entry is a batch of its own.
        const entry = await this.#reader.at(next);
        if (this.#doubt) continue;
        if (entry === null || this.#ended) break;
        yield this.#deliver({ seq: entry.seq, data: entry.data });
      }
    } catch (error) {
      if (!(error instanceof LogUnavailable) || this.#api.connection.isClosed()) throw error;
      this.#behind = true;
      this.#doubt = true;
      await this.#sleepFor(RETRY);
    }
  }

  /** Whether the log is known to hold more than was delivered. */
  #isDue(): boolean {
    return this.#expected >= this.next || (this.#waiting[0]?.seq ?? 0) > this.next;
  }

  /** All is well: the next look at the log is far. */
  #rest(): void {
    this.#idle = Math.min(LONGEST_IDLE, Math.max(SHORTEST_IDLE, IDLE_GAPS * this.#gap));
    this.#checkAt = performance.now() + this.#idle;
  }

  /** Until something happens, or the log was silent for too long: then it is to be asked. */
  async #sleep(): Promise<void> {
    const left = this.#checkAt - performance.now();
    if (left <= 0) {
      this.#behind = true;
      this.#idle = Math.min(2 * this.#idle, LONGEST_IDLE);
      this.#checkAt = performance.now() + this.#idle;
      return;
    }
    // Entries push the time for that away one after the other: the timer is set once, and looks again when it is over.
    if (this.#timerAt > this.#checkAt || this.#timerAt < performance.now()) {
      clearTimeout(this.#timer);
      this.#timerAt = this.#checkAt;
      this.#timer = setTimeout(() => {
        this.#timerAt = 0;
        this.#wake();
      }, left);
    }
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  #sleepFor(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #closed(): Promise<unknown> {
    const reason = await this.#api.connection.closed();
    const { servers } = this.#api.link.options;
    return reason ? connectionError(reason, servers) : unavailable('the connection was closed');
  }
}
