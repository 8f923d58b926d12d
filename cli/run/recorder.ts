import { JournalWriter } from '../../worker/journal/file.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger, probesOf } from '../../worker/journal/ledger.ts';
import type { JournalRecord, RoundRecord } from '../../worker/journal/record.ts';
import type { Log } from '../../worker/log/log.ts';
import { type Observed, observe } from '../../worker/round/observer.ts';
import type { Observed as Seen } from '../view/events.ts';
import type { View } from '../view/live.ts';
import { MetricsWriter } from '../view/metrics.ts';
import { observationsOf } from '../view/observe.ts';
import { planOf } from '../view/plan.ts';
import type { RunDirectory } from './directory.ts';

/** How often totals that no record carries are shown. */
const TOTALS_MS = 500;

/** Writes down a run as its log tells it: journal, metrics, and what the views are told. */
export class Recorder {
  readonly observed: Seen[] = [];
  readonly #directory: RunDirectory;
  readonly #log: Log;
  readonly #view: View;
  readonly #stop = new AbortController();
  #ledger: Ledger = emptyLedger();
  #journal: JournalWriter;
  #metrics: MetricsWriter | null = null;
  #idle = false;
  /** What was followed before: told to the view only in sum. */
  #known: number;

  private constructor(directory: RunDirectory, log: Log, view: View, known: number) {
    this.#directory = directory;
    this.#log = log;
    this.#view = view;
    this.#known = known;
    // Written anew from the log, which is the truth: a journal cut off by a crash needs no repair.
    this.#journal = JournalWriter.create(directory.journal);
  }

  /** Reads what the log holds already; the view is told of it in one go. */
  static async open(directory: RunDirectory, log: Log, view: View): Promise<Recorder> {
    const last = (await log.last())?.seq ?? 0;
    const recorder = new Recorder(directory, log, view, last);
    for await (const entry of log.read(1, last)) {
      const followed = follow(recorder.#ledger, entry);
      if (!('ignored' in followed)) recorder.#take(followed);
    }
    if (recorder.observed.length > 0) view.observe({ type: 'resumed', observed: [...recorder.observed] });
    return recorder;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  get journalBytes(): number {
    return this.#journal.bytes;
  }

  /** Follows the log to its end record. */
  async run(wireBytes: () => number): Promise<void> {
    const totals = () =>
      this.#view.observe({ type: 'totals', wireBytes: wireBytes(), journalBytes: this.#journal.bytes });
    const timer = setInterval(totals, TOTALS_MS);
    try {
      for await (const step of observe(this.#log, this.#stop.signal)) {
        if (step.record === null) await this.#back(step.seq);
        if (step.seq <= this.#known || step.record === null) continue;
        for (const seen of this.#take(step)) this.#view.observe(seen);
        this.#watch(step.record);
      }
    } finally {
      clearInterval(timer);
      totals();
    }
  }

  /** The journal so far is on the disk on return. */
  sync(): void {
    this.#journal.sync();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#journal.close();
    await this.#metrics?.close();
  }

  /** The log lost its tail: writes anew what it still holds. */
  async #back(seq: number): Promise<void> {
    this.#view.observe({ type: 'notice', level: 'warning', text: 'the log lost its last records' });
    this.#known = Math.min(this.#known, seq);
    this.#journal.close();
    this.#journal = JournalWriter.create(this.#directory.journal);
    await this.#metrics?.close();
    this.#metrics = null;
    this.observed.length = 0;
    this.#ledger = emptyLedger();
    for await (const entry of this.#log.read(1, seq)) {
      const followed = follow(this.#ledger, entry);
      if (!('ignored' in followed)) this.#take(followed);
    }
  }

  /** Rounds in which every probe abstained go by without moving anything: people have to be told why. */
  #watch(record: JournalRecord | null): void {
    if (record?.kind !== 'round' || probesOf(record) === 0) return;
    const idle = record.bytes.every((bytes) => bytes.every((byte) => byte === 0));
    if (idle && !this.#idle) this.#view.observe({ type: 'notice', level: 'warning', text: idleText(record) });
    this.#idle = idle;
  }

  #take({ record, body, ledger }: Pick<Observed, 'record' | 'body' | 'ledger'>): Seen[] {
    const before = this.#ledger;
    this.#ledger = ledger;
    if (record === null || body === null) return [];
    this.#journal.append({ body, ledger });
    if (record.kind === 'genesis')
      this.#metrics = new MetricsWriter(this.#directory.metrics, planOf(ledger.job!));
    const seen = observationsOf(before, ledger, record, body.length);
    for (const one of seen) if (one.type === 'round') this.#metrics?.write(one);
    this.observed.push(...seen);
    return seen;
  }
}

function idleText({ round }: RoundRecord): string {
  return `round ${round}: no loss was a number, so no probe counts and nothing moves. A model with infinities in it, or too large a radius or learning rate, does that`;
}
