import { type Channel, counted, type Traffic } from './channel.ts';
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

/** Messages of one log on a channel that may carry others too: `plane` names it. */
type Request = { readonly plane: string } & (
  | {
      readonly type: 'append';
      readonly call: number;
      readonly data: Uint8Array;
      readonly options: AppendOptions;
    }
  | { readonly type: 'last'; readonly call: number }
  | { readonly type: 'read'; readonly call: number; readonly from: number; readonly to: number | undefined }
  | { readonly type: 'tail'; readonly call: number; readonly from: number }
  /** A batch was taken: one more may come. */
  | { readonly type: 'more'; readonly call: number }
  | { readonly type: 'stop'; readonly call: number }
);

type Answer = { readonly plane: string } & (
  | { readonly type: 'done'; readonly call: number; readonly value: number | LogEntry | null }
  | { readonly type: 'failed'; readonly call: number; readonly failure: Failure }
  | { readonly type: 'items'; readonly call: number; readonly items: readonly Item[] }
  | { readonly type: 'ended'; readonly call: number }
);

/** An entry (with data) or a truncation (without), flat so that a batch stays small. */
interface Item {
  readonly seq: number;
  readonly data: Uint8Array | null;
}

interface Failure {
  readonly name: string;
  readonly message: string;
  readonly last: number | undefined;
}

/** A batch of entries ends at this many bytes or entries, and so many batches may be on their way. */
const BATCH_BYTES = 1 << 18;
const BATCH_ITEMS = 256;
const BATCHES_AHEAD = 4;

export interface LogService {
  readonly traffic: Traffic;
  /** Stops answering and ends the client's tails. */
  close(): void;
}

/** Answers the log requests that come over a channel. */
export function serveLog(log: Log, channel: Channel, plane = 'log'): LogService {
  const service = new Service(log, channel, plane);
  return { traffic: service.traffic, close: () => service.close() };
}

class Service {
  readonly traffic: Traffic;
  readonly #log: Log;
  readonly #plane: string;
  readonly #channel: Channel;
  readonly #streams = new Map<number, Stream>();
  #open = true;

  constructor(log: Log, channel: Channel, plane: string) {
    const counting = counted(channel, (message) => belongs(message, plane));
    this.#log = log;
    this.#plane = plane;
    this.#channel = counting;
    this.traffic = counting.traffic;
    counting.onMessage((message) => {
      if (this.#open && belongs(message, plane)) this.#handle(message as Request);
    });
    counting.onClose(() => this.close());
  }

  close(): void {
    this.#open = false;
    for (const stream of this.#streams.values()) stream.stop.abort();
    this.#streams.clear();
  }

  #handle(request: Request): void {
    const { call } = request;
    switch (request.type) {
      case 'append':
        this.#answer(call, this.#log.append(request.data, request.options));
        break;
      case 'last':
        this.#answer(call, this.#log.last());
        break;
      case 'read':
        this.#stream(call, () => entryItems(this.#log.read(request.from, request.to)));
        break;
      case 'tail':
        this.#stream(call, (signal) => eventItems(this.#log.tail(request.from, signal)));
        break;
      case 'more':
        this.#streams.get(call)?.credit();
        break;
      case 'stop':
        this.#streams.get(call)?.stop.abort();
        this.#streams.delete(call);
    }
  }

  #answer(call: number, work: Promise<number | LogEntry | null>): void {
    work.then(
      (value) => this.#post({ plane: this.#plane, type: 'done', call, value }),
      (error) => this.#post({ plane: this.#plane, type: 'failed', call, failure: failureOf(error) }),
    );
  }

  #stream(call: number, items: (signal: AbortSignal) => AsyncIterable<Item>): void {
    const stream = new Stream((batch) =>
      this.#post({ plane: this.#plane, type: 'items', call, items: batch }),
    );
    this.#streams.set(call, stream);
    stream
      .run(items(stream.stop.signal))
      .then(
        () => this.#post({ plane: this.#plane, type: 'ended', call }),
        (error) => this.#post({ plane: this.#plane, type: 'failed', call, failure: failureOf(error) }),
      )
      .finally(() => this.#streams.delete(call));
  }

  #post(answer: Answer): void {
    if (this.#open) this.#channel.post(answer);
  }
}

/**
 * Sends items as they come, in batches where they come faster than the loop turns, and waits where the other end is
 * behind: a replica that catches up must not fill the parent's memory.
 */
class Stream {
  readonly stop = new AbortController();
  readonly #send: (batch: readonly Item[]) => void;
  #batch: Item[] = [];
  #bytes = 0;
  #ahead = 0;
  #flushing = false;
  #wake = () => {};

  constructor(send: (batch: readonly Item[]) => void) {
    this.#send = send;
    this.stop.signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  credit(): void {
    this.#ahead--;
    this.#wake();
    if (this.#batch.length > 0) this.#flushSoon();
  }

  async run(items: AsyncIterable<Item>): Promise<void> {
    for await (const item of items) {
      if (this.stop.signal.aborted) return;
      this.#batch.push(item);
      this.#bytes += item.data?.length ?? 0;
      if (this.#batch.length >= BATCH_ITEMS || this.#bytes >= BATCH_BYTES) await this.#flush();
      else this.#flushSoon();
    }
    await this.#flush();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    // After everything that is ready now: a live entry leaves in the same turn of the loop, a backlog as one batch.
    setImmediate(() => {
      this.#flushing = false;
      if (this.#ahead < BATCHES_AHEAD) this.#flushNow();
    });
  }

  async #flush(): Promise<void> {
    while (this.#ahead >= BATCHES_AHEAD && !this.stop.signal.aborted)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    this.#flushNow();
  }

  #flushNow(): void {
    if (this.#batch.length === 0 || this.stop.signal.aborted) return;
    this.#ahead++;
    this.#send(this.#batch);
    this.#batch = [];
    this.#bytes = 0;
  }
}

/** How long a call waits for the parent before it is LogUnavailable, in milliseconds. */
const TIMEOUT_MS = 30_000;

/** A log that another process or thread serves with `serveLog`. */
export class IpcLog implements Log {
  readonly #channel: Channel;
  readonly #plane: string;
  readonly #timeoutMs: number;
  readonly #calls = new Map<number, (answer: Answer) => void>();
  readonly #streams = new Map<number, AsyncQueue<readonly Item[]>>();
  #next = 0;
  #open = true;

  constructor(channel: Channel, options: { plane?: string; timeoutMs?: number } = {}) {
    this.#channel = channel;
    this.#plane = options.plane ?? 'log';
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    channel.onMessage((message) => {
      if (belongs(message, this.#plane)) this.#receive(message as Answer);
    });
    channel.onClose(() => {
      const gone = new LogUnavailable('the process that holds the log is gone');
      for (const queue of this.#streams.values()) queue.fail(gone);
      this.#shut(gone.message);
    });
  }

  async append(data: Uint8Array, options: AppendOptions): Promise<number> {
    return (await this.#call((call) => ({ type: 'append', call, data, options }), options)) as number;
  }

  async last(): Promise<LogEntry | null> {
    return (await this.#call((call) => ({ type: 'last', call }))) as LogEntry | null;
  }

  async *read(from: number, to?: number): AsyncIterable<LogEntry> {
    const items = this.#stream((call) => ({ type: 'read', call, from, to }));
    for await (const { seq, data } of items) yield { seq, data: data! };
  }

  async *tail(from: number, signal: AbortSignal): AsyncIterable<LogEvent> {
    for await (const item of this.#stream((call) => ({ type: 'tail', call, from }), signal)) {
      if (item.data === null) yield { type: 'truncated', last: item.seq };
      else yield { type: 'entry', entry: { seq: item.seq, data: item.data } };
    }
  }

  /** Ends this end's tails; the log itself stays open. */
  async close(): Promise<void> {
    for (const queue of this.#streams.values()) queue.end();
    this.#shut('the log is closed');
  }

  #receive(answer: Answer): void {
    const { call } = answer;
    if (answer.type === 'done') this.#calls.get(call)?.(answer);
    else if (answer.type === 'items') this.#streams.get(call)?.push(answer.items);
    else if (answer.type === 'ended') this.#streams.get(call)?.end();
    else {
      this.#calls.get(call)?.(answer);
      this.#streams.get(call)?.fail(errorOf(answer.failure));
    }
  }

  #call(request: (call: number) => Body, append?: AppendOptions): Promise<number | LogEntry | null> {
    return new Promise((resolve, reject) => {
      if (!this.#open) return reject(new LogUnavailable('the log is closed'));
      const call = this.#next++;
      const settle = (answer: Answer) => {
        clearTimeout(timer);
        this.#calls.delete(call);
        if (answer.type === 'done') resolve(answer.value);
        else if (answer.type === 'failed') reject(errorOf(answer.failure, append));
      };
      const timer = setTimeout(() => settle(this.#failed(call, 'no answer in time')), this.#timeoutMs);
      this.#calls.set(call, settle);
      this.#channel.post({ plane: this.#plane, ...request(call) });
    });
  }

  async *#stream(request: (call: number) => Body, signal?: AbortSignal): AsyncIterable<Item> {
    if (signal?.aborted) return;
    if (!this.#open) throw new LogUnavailable('the log is closed');
    const call = this.#next++;
    const post = (body: Body) => this.#channel.post({ plane: this.#plane, ...body });
    const batches = new AsyncQueue<readonly Item[]>(() => {
      this.#streams.delete(call);
      post({ type: 'stop', call });
    }, signal);
    this.#streams.set(call, batches);
    post(request(call));
    for await (const batch of batches) {
      post({ type: 'more', call });
      for (const item of batch) {
        if (signal?.aborted) return;
        yield item;
      }
    }
  }

  #shut(message: string): void {
    this.#open = false;
    for (const [call, settle] of [...this.#calls]) settle(this.#failed(call, message));
  }

  #failed(call: number, message: string): Answer {
    const failure = { name: 'LogUnavailable', message, last: undefined };
    return { plane: this.#plane, type: 'failed', call, failure };
  }
}

type Body = Request extends infer R ? (R extends Request ? Omit<R, 'plane'> : never) : never;

async function* entryItems(entries: AsyncIterable<LogEntry>): AsyncIterable<Item> {
  for await (const { seq, data } of entries) yield { seq, data };
}

async function* eventItems(events: AsyncIterable<LogEvent>): AsyncIterable<Item> {
  for await (const event of events)
    yield event.type === 'entry' ? event.entry : { seq: event.last, data: null };
}

function belongs(message: unknown, plane: string): boolean {
  return typeof message === 'object' && message !== null && (message as { plane?: unknown }).plane === plane;
}

function failureOf(error: unknown): Failure {
  const { name, message, last } = error as { name?: string; message?: string; last?: number };
  return { name: name ?? 'Error', message: message ?? String(error), last };
}

function errorOf({ name, message, last }: Failure, append?: AppendOptions): Error {
  if (name === 'LogConflict') return new LogConflict(append?.expectedLast ?? -1, last);
  if (name === 'LogFull') return new LogFull(message);
  return new LogUnavailable(message);
}
