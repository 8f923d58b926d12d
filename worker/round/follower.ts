import { createHash } from 'node:crypto';
import { chainAfter, openEnvelope } from '../journal/envelope.ts';
import { follow } from '../journal/follow.ts';
import { emptyLedger, type Ledger } from '../journal/ledger.ts';
import type { JournalRecord } from '../journal/record.ts';
import { type Log, type LogEntry, LogUnavailable } from '../log/log.ts';
import type { Start } from './checkpoint.ts';
import { type Clock, sleep } from './clock.ts';

/** What following a log yields. */
export type Step =
  | {
      readonly type: 'record';
      readonly seq: number;
      readonly record: JournalRecord;
      readonly body: Uint8Array;
      readonly before: Ledger;
      readonly ledger: Ledger;
    }
  | { readonly type: 'ignored'; readonly seq: number; readonly why: string }
  /** The log is not what it was: back to the last entry that it still has. */
  | { readonly type: 'rewound'; readonly seq: number; readonly ledger: Ledger }
  /** The log does not hold what the follower began from. Nothing follows. */
  | { readonly type: 'lost'; readonly seq: number };

/** Ledgers kept for going back; further back the log is read again from its start. */
const WINDOW = 256;
/** The log's own beginning. */
const NOWHERE = { ledger: emptyLedger(), seq: 0 };
const PAUSE = 250;
const LONGEST_PAUSE = 5000;

/**
 * Reads a log for ever, from its start, through lost connections and lost tails. A tail that was lost and regrown
 * while nobody was listening is found out when the log is listened to again, or by the chain: new entries do not
 * continue it.
 */
export class Follower {
  readonly #log: Log;
  readonly #clock: Clock;
  #ledger: Ledger;
  /** What it began from. Entries up to it are not known, except by the chain. */
  readonly #start: Pick<Start, 'ledger' | 'seq'>;
  /** Of entry start + i + 1: what tells it from another in its place. */
  readonly #prints: number[] = [];
  /** Ledgers after the last entries; the last one is after the last entry. */
  #window: Ledger[] = [];
  #resync = new AbortController();

  constructor(log: Log, clock: Clock, start: Pick<Start, 'ledger' | 'seq'> = NOWHERE) {
    this.#log = log;
    this.#clock = clock;
    this.#start = start;
    this.#ledger = start.ledger;
  }

  get seq(): number {
    return this.#start.seq + this.#prints.length;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  /** Opens the tail anew. */
  resync(): void {
    this.#resync.abort();
  }

  /** @throws OnebyteError RECORD_UNKNOWN_KIND, RECORD_VERSION: the run is of another version. */
  async *steps(signal: AbortSignal): AsyncGenerator<Step, void, undefined> {
    for (let pause = PAUSE; !signal.aborted; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      this.#resync = new AbortController();
      try {
        for await (const step of this.#tail(AbortSignal.any([signal, this.#resync.signal]))) {
          pause = PAUSE;
          yield step;
        }
      } catch (error) {
        if (!(error instanceof LogUnavailable)) throw error;
      }
      if (!this.#resync.signal.aborted) await sleep(this.#clock, pause, signal);
    }
  }

  async *#tail(signal: AbortSignal): AsyncGenerator<Step, void, undefined> {
    const held = await this.#common();
    if (held < this.seq) yield await this.#backTo(held);
    if (held < this.#start.seq) return;
    for await (const event of this.#log.tail(this.seq + 1, signal)) {
      if (event.type === 'truncated') {
        if (event.last < this.seq) yield await this.#backTo(event.last);
        if (event.last < this.#start.seq) return;
        continue;
      }
      const { entry } = event;
      if (entry.seq <= this.seq) continue;
      if (entry.seq > this.seq + 1) return;
      const before = this.#ledger;
      const outcome = follow(before, entry);
      if ('ignored' in outcome) {
        const common = await this.#common();
        if (common < this.seq) {
          yield await this.#backTo(common);
          return;
        }
        this.#push(before, entry);
        yield { type: 'ignored', seq: this.seq, why: outcome.ignored };
      } else {
        const { record, body, ledger } = outcome;
        this.#push(ledger, entry);
        yield { type: 'record', seq: this.seq, record, body, before, ledger };
      }
    }
  }

  #push(ledger: Ledger, entry: LogEntry): void {
    this.#prints.push(ledger === this.#ledger ? fingerprint(entry.data) : prefix(ledger.chain));
    this.#ledger = ledger;
    this.#window.push(ledger);
    if (this.#window.length >= 2 * WINDOW) this.#window = this.#window.slice(-WINDOW);
  }

  /** The last sequence up to which the log holds what was followed; -1 where not even the start is in it. */
  async #common(): Promise<number> {
    if (await this.#holds(this.seq)) return this.seq;
    let [low, high] = [this.#start.seq, this.seq];
    if (!(await this.#holds(low))) return -1;
    while (low < high - 1) {
      const middle = (low + high) >> 1;
      if (await this.#holds(middle)) low = middle;
      else high = middle;
    }
    return low;
  }

  async #holds(seq: number): Promise<boolean> {
    if (seq === 0) return true;
    for await (const entry of this.#log.read(seq, seq))
      return entry.seq === seq && fingerprint(entry.data) === this.#printOf(seq);
    return false;
  }

  #printOf(seq: number): number | undefined {
    const { ledger, seq: start } = this.#start;
    return seq === start ? prefix(ledger.chain) : this.#prints[seq - start - 1];
  }

  async #backTo(seq: number): Promise<Step> {
    if (seq < this.#start.seq) return { type: 'lost', seq: this.#start.seq };
    const at = this.#window.length - 1 - (this.seq - seq);
    const known = seq === this.#start.seq ? this.#start.ledger : this.#window[at];
    const ledger = known ?? (await this.#again(seq));
    this.#window = known === undefined ? [ledger] : this.#window.slice(0, Math.max(0, at + 1));
    this.#prints.length = seq - this.#start.seq;
    this.#ledger = ledger;
    return { type: 'rewound', seq, ledger };
  }

  async #again(seq: number): Promise<Ledger> {
    let ledger = emptyLedger();
    for await (const entry of this.#log.read(1, seq)) {
      const outcome = follow(ledger, entry);
      if (!('ignored' in outcome)) ledger = outcome.ledger;
    }
    return ledger;
  }
}

/** For an entry that continues the chain: of the chain after it. */
function fingerprint(data: Uint8Array): number {
  try {
    const { previous, body } = openEnvelope(data);
    return prefix(chainAfter(previous, body));
  } catch {
    return prefix(createHash('sha256').update(data).digest());
  }
}

/** 48 bits. */
function prefix(hash: Uint8Array): number {
  return Buffer.from(hash.buffer, hash.byteOffset, 6).readUIntBE(0, 6);
}
