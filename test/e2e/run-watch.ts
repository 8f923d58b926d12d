/** A run as its log tells it, followed from outside of the cluster. */
import type { NatsConnection } from '@nats-io/transport-node';
import { JournalWriter } from '../../worker/journal/file.ts';
import type { Ledger } from '../../worker/journal/ledger.ts';
import type { JournalRecord, RoundRecord } from '../../worker/journal/record.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import { openNats } from '../../worker/nats/connect.ts';
import { jobNames } from '../../worker/nats/names.ts';
import { observe } from '../../worker/round/observer.ts';

export interface Seen {
  /** When it came here, by `performance.now()`. */
  readonly at: number;
  readonly seq: number;
  /** Null where the log turned out to have lost its end. */
  readonly record: JournalRecord | null;
  readonly body: Uint8Array | null;
  readonly ledger: Ledger;
  /** Members of the round, by slot, before the record. */
  readonly members: Ledger['members'];
}

export class RunWatch {
  readonly seen: Seen[] = [];
  readonly #connection: NatsConnection;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  private constructor(connection: NatsConnection, uid: string) {
    this.#connection = connection;
    this.#done = this.#follow(new NatsLog(connection, jobNames(uid)));
    // Told to whoever waits for the end; until then it is no surprise.
    this.#done.catch(() => undefined);
  }

  static async start(url: string, credentialsFile: string | undefined, uid: string): Promise<RunWatch> {
    return new RunWatch(
      await openNats({ servers: [url], name: 'test', ...(credentialsFile && { credentialsFile }) }),
      uid,
    );
  }

  get ledger(): Ledger | null {
    return this.seen.at(-1)?.ledger ?? null;
  }

  get round(): number {
    return this.ledger?.totals.rounds ?? 0;
  }

  /** Records of rounds that moved the state, with who was in. */
  get rounds(): (Seen & { readonly record: RoundRecord })[] {
    return this.seen.filter(
      (seen): seen is Seen & { record: RoundRecord } =>
        seen.record?.kind === 'round' && seen.record.bytes.some((bytes) => bytes.length > 0),
    );
  }

  /** Names of the workers with a byte in a round. */
  static contributors({ record, members }: Seen & { record: RoundRecord }): string[] {
    return members.filter((_, i) => (record.bytes[i]?.length ?? 0) > 0).map(({ name }) => name);
  }

  /** Rounds in a second, over the last so many milliseconds. */
  rate(windowMs: number, until = performance.now()): number {
    const inside = this.rounds.filter(({ at }) => at > until - windowMs && at <= until);
    return (inside.length * 1000) / windowMs;
  }

  /** Milliseconds from the last round before an instant to the first one after it; null as long as none came. */
  gap(instant: number): number | null {
    const before = this.rounds.findLast(({ at }) => at <= instant);
    const after = this.rounds.find(({ at }) => at > instant);
    return after === undefined ? null : after.at - (before?.at ?? instant);
  }

  /** Milliseconds: the longest that no round came, from the last one before an instant on. */
  longestPause(instant: number): number {
    const times = this.rounds.map(({ at }) => at);
    const first = Math.max(
      0,
      times.findIndex((at) => at > instant),
    );
    let longest = 0;
    for (let i = Math.max(1, first); i < times.length; i++)
      longest = Math.max(longest, times[i]! - times[i - 1]!);
    return longest;
  }

  /** Until the run has ended. */
  async ended(): Promise<Ledger> {
    await this.#done;
    return this.ledger!;
  }

  /** Writes the run's journal from what was read. */
  writeJournal(path: string): void {
    const journal = JournalWriter.create(path);
    for (const { body, ledger } of this.#kept()) journal.append({ body: body!, ledger });
    journal.close();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#connection.close();
  }

  /** What the log holds: without what it lost. */
  #kept(): Seen[] {
    const kept: Seen[] = [];
    for (const seen of this.seen) {
      while (kept.length > 0 && kept.at(-1)!.seq >= (seen.record === null ? seen.seq + 1 : seen.seq))
        kept.pop();
      if (seen.record !== null) kept.push(seen);
    }
    return kept;
  }

  async #follow(log: NatsLog): Promise<void> {
    let members: Ledger['members'] = [];
    for await (const { seq, record, body, ledger } of observe(log, this.#stop.signal)) {
      this.seen.push({ at: performance.now(), seq, record, body, ledger, members });
      members = ledger.members;
    }
  }
}
