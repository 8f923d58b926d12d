import {
  type AppendOptions,
  type Log,
  LogConflict,
  type LogEntry,
  type LogEvent,
  LogFull,
  LogUnavailable,
} from './log.ts';
import { AsyncQueue } from './queue.ts';
import type { SimulatedNetwork } from './simulated-network.ts';

export interface SimulatedLogOptions {
  /** The log's name as a node of the network. */
  readonly name?: string;
  /** Virtual milliseconds after which a request without an answer is LogUnavailable. */
  readonly timeoutMs?: number;
  /** Entries after which an append is LogFull. */
  readonly limit?: number;
  /** Whether a repeated id is recognised (false: the window for it has passed). */
  readonly deduplicate?: boolean;
}

type Answer<T> = { readonly value: T } | { readonly error: Error };

interface Tail {
  readonly node: string;
  readonly handler: (event: LogEvent) => void;
  /** The next sequence to hand over. */
  next: number;
  /** The end that the tail has not heard of yet. */
  truncated: number | null;
  scheduled: boolean;
  open: boolean;
}

/**
 * A log in virtual time. Requests and answers travel as datagrams of the network (an append whose acknowledgement is
 * lost is a link whose way back drops); entries reach tails over reliable links, late where those are slow or cut.
 */
export class SimulatedLog {
  readonly name: string;
  readonly network: SimulatedNetwork;
  readonly timeoutMs: number;
  readonly #limit: number;
  readonly #deduplicate: boolean;
  readonly #entries: LogEntry[] = [];
  readonly #ids = new Map<string, number>();
  readonly #tails = new Set<Tail>();

  constructor(network: SimulatedNetwork, options: SimulatedLogOptions = {}) {
    this.network = network;
    this.name = options.name ?? 'log';
    this.timeoutMs = options.timeoutMs ?? 1000;
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.#deduplicate = options.deduplicate ?? true;
  }

  /** What the log holds now, seen from outside of the simulation. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** The log as `node` reaches it. A node that restarts takes a new client. */
  client(node: string): SimulatedLogClient {
    return new SimulatedLogClient(this, node);
  }

  /** Loses the last `count` entries, as after a power loss before they were synced. Tails hear of it. */
  loseTail(count: number): void {
    const last = Math.max(0, this.#entries.length - count);
    this.#entries.length = last;
    for (const [id, seq] of this.#ids) if (seq > last) this.#ids.delete(id);
    for (const tail of this.#tails) {
      if (tail.next <= last + 1) continue;
      tail.next = last + 1;
      tail.truncated = last;
      this.#pump(tail);
    }
  }

  /** @internal Runs at the log's end of the link. */
  accept(data: Uint8Array, { expectedLast, id }: AppendOptions): Answer<number> {
    const known = this.#deduplicate ? this.#ids.get(id) : undefined;
    if (known !== undefined) return { value: known };
    const last = this.#entries.length;
    if (last !== expectedLast) return { error: new LogConflict(expectedLast, last) };
    if (last >= this.#limit) return { error: new LogFull(`the log holds ${last} entries, its limit`) };
    this.#entries.push({ seq: last + 1, data });
    this.#ids.set(id, last + 1);
    for (const tail of this.#tails) this.#pump(tail);
    return { value: last + 1 };
  }

  /** @internal */
  attach(node: string, from: number, handler: (event: LogEvent) => void): () => void {
    const tail: Tail = { node, handler, next: from, truncated: null, scheduled: false, open: true };
    this.#tails.add(tail);
    this.#pump(tail);
    return () => {
      tail.open = false;
      this.#tails.delete(tail);
    };
  }

  #pump(tail: Tail): void {
    const due = tail.truncated !== null || tail.next <= this.#entries.length;
    if (!due || tail.scheduled || !tail.open) return;
    tail.scheduled = true;
    this.network.deliverReliably(this.name, tail.node, () => {
      tail.scheduled = false;
      if (!tail.open) return;
      const event = this.#take(tail);
      if (event !== null) tail.handler(event);
      this.#pump(tail);
    });
  }

  #take(tail: Tail): LogEvent | null {
    if (tail.truncated !== null) {
      const last = tail.truncated;
      tail.truncated = null;
      return { type: 'truncated', last };
    }
    const entry = this.#entries[tail.next - 1];
    if (entry === undefined) return null;
    tail.next++;
    return { type: 'entry', entry };
  }
}

/**
 * One node's end. The callback forms are for simulators that run on plain events; the promises of `Log` are made of them.
 * After `close` (the node died) no callback runs any more.
 */
export class SimulatedLogClient implements Log {
  readonly #log: SimulatedLog;
  readonly #node: string;
  readonly #closers = new Set<() => void>();
  #open = true;

  constructor(log: SimulatedLog, node: string) {
    this.#log = log;
    this.#node = node;
  }

  /** `append` with a callback: the sequence, or LogConflict, LogFull, LogUnavailable. */
  appendThen(data: Uint8Array, options: AppendOptions, done: (result: number | Error) => void): void {
    const copy = data.slice();
    this.#request(
      () => this.#log.accept(copy, options),
      (answer) => done('error' in answer ? answer.error : answer.value),
    );
  }

  /** `tail` with a callback; returns what ends it. */
  tailEach(from: number, handler: (event: LogEvent) => void): () => void {
    if (!this.#open) return () => {};
    const detach = this.#log.attach(this.#node, from, handler);
    const stop = () => {
      this.#closers.delete(stop);
      detach();
    };
    this.#closers.add(stop);
    return stop;
  }

  append(data: Uint8Array, options: AppendOptions): Promise<number> {
    return new Promise((resolve, reject) =>
      this.appendThen(data, options, (result) =>
        typeof result === 'number' ? resolve(result) : reject(result),
      ),
    );
  }

  async last(): Promise<LogEntry | null> {
    return this.#ask(() => this.#log.entries.at(-1) ?? null);
  }

  async *read(from: number, to = Number.POSITIVE_INFINITY): AsyncIterable<LogEntry> {
    yield* await this.#ask(() => this.#log.entries.slice(Math.max(0, from - 1), to));
  }

  tail(from: number, signal: AbortSignal): AsyncIterable<LogEvent> {
    let stop = () => {};
    const queue = new AsyncQueue<LogEvent>(() => stop(), signal);
    if (queue.closed) return queue;
    if (!this.#open) queue.fail(new LogUnavailable('the log is closed'));
    const detach = this.tailEach(from, (event) => queue.push(event));
    const ended = () => queue.end();
    this.#closers.add(ended);
    stop = () => {
      this.#closers.delete(ended);
      detach();
    };
    return queue;
  }

  async close(): Promise<void> {
    this.#open = false;
    for (const close of [...this.#closers]) close();
  }

  #ask<T>(look: () => T): Promise<T> {
    return new Promise((resolve, reject) =>
      this.#request(
        () => ({ value: look() }),
        (answer) => ('error' in answer ? reject(answer.error) : resolve(answer.value)),
      ),
    );
  }

  #request<T>(work: () => Answer<T>, done: (answer: Answer<T>) => void): void {
    const { network, name, timeoutMs } = this.#log;
    let waiting = true;
    const settle = (answer: Answer<T>) => {
      if (!waiting || !this.#open) return;
      waiting = false;
      done(answer);
    };
    if (!this.#open) {
      network.scheduler.at(0, () => done({ error: new LogUnavailable('the log is closed') }));
      return;
    }
    network.deliver(this.#node, name, () => {
      const answer = work();
      network.deliver(name, this.#node, () => settle(answer));
    });
    network.scheduler.at(timeoutMs, () =>
      settle({ error: new LogUnavailable('the log did not answer in time') }),
    );
  }
}
