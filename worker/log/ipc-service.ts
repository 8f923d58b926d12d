import { type Channel, counted, type Traffic } from './channel.ts';
import { type Answer, belongs, failureOf, type Item, type Request } from './ipc-message.ts';
import type { Log, LogEntry, LogEvent } from './log.ts';

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
        this.#streams.get(call)?.credit(request.batches);
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

  credit(batches: number): void {
    this.#ahead -= batches;
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

async function* entryItems(entries: AsyncIterable<LogEntry>): AsyncIterable<Item> {
  for await (const { seq, data } of entries) yield { seq, data };
}

async function* eventItems(events: AsyncIterable<LogEvent>): AsyncIterable<Item> {
  for await (const event of events)
    yield event.type === 'entry' ? event.entry : { seq: event.last, data: null };
}
