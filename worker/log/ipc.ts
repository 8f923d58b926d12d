import type { Channel } from './channel.ts';
import { type Answer, type Body, belongs, errorOf, type Item } from './ipc-message.ts';
import { type AppendOptions, type Log, type LogEntry, type LogEvent, LogUnavailable } from './log.ts';
import { AsyncQueue } from './queue.ts';

export { type LogService, serveLog } from './ipc-service.ts';

/** How long a call waits for the parent before it is LogUnavailable, in milliseconds. */
const TIMEOUT_MS = 30_000;
/** Batches that the parent hears of together that they were taken: fewer than it sends ahead. */
const CREDIT = 2;

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
    let taken = 0;
    for await (const batch of batches) {
      if (++taken === CREDIT) {
        post({ type: 'more', call, batches: taken });
        taken = 0;
      }
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
