import { createInbox, type Msg } from '@nats-io/transport-node';
import type { LogEntry } from '../log/log.ts';
import { API_CODES, type Api, ApiError } from './api.ts';
import { deniedError, unavailable } from './failure.ts';
import { HEADERS, type JobNames } from './names.ts';

export interface Batch {
  readonly entries: readonly LogEntry[];
  /** Entries after the last of these, as far as the server that answered knows. */
  readonly pending: number;
}

/** An entry and the id of the append that made it. */
export interface Stored extends LogEntry {
  readonly id: string;
}

/** Silence after which a batch is asked for again, in milliseconds. */
const SILENCE = 2000;
const PAUSE = 50;

/**
 * Reads a stream without consumers. Batches come from any server that holds a copy, which may lag behind; `at` and
 * `last` come from the one that leads.
 */
export class Reader {
  readonly #api: Api;
  readonly #names: JobNames;

  constructor(api: Api, names: JobNames) {
    this.#api = api;
    this.#names = names;
  }

  /** The entry at `seq`, or null where the stream does not have it. @throws LogUnavailable; OnebyteError NATS_DENIED. */
  at(seq: number): Promise<Stored | null> {
    return this.#get({ seq });
  }

  last(): Promise<Stored | null> {
    // Of any subject: what a consumer of another stream put here counts too, though nothing of ours would.
    return this.#get({ last_by_subj: '>' });
  }

  async #get(query: object): Promise<Stored | null> {
    try {
      const { message } = await this.#api.call<{ message: StoredMessage }>(
        `STREAM.MSG.GET.${this.#names.stream}`,
        query,
      );
      const data = new Uint8Array(Buffer.from(message.data ?? '', 'base64'));
      return { seq: message.seq, data, id: idIn(message.hdrs ?? '') };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === API_CODES.notFound) return null;
      throw unavailable(`the log cannot be read: ${error.message}`, error);
    }
  }

  /**
   * Up to `count` entries from `seq` on, or as many as make up `maxBytes`; empty where there are none.
   * @throws LogUnavailable; OnebyteError NATS_DENIED.
   */
  async batch(seq: number, count: number, maxBytes: number): Promise<Batch> {
    const { link, connection, timeoutMs } = this.#api;
    const until = performance.now() + timeoutMs;
    for (let left = timeoutMs; left > 1; left = until - performance.now()) {
      if (connection.isClosed() || (!link.up && !(await link.whenUp(left)))) break;
      const batch = await this.#request({ seq, batch: count, max_bytes: maxBytes });
      if (batch !== null) return batch;
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    throw unavailable('the log did not answer in time');
  }

  /** Null where the answer broke off. */
  #request(query: object): Promise<Batch | null> {
    const { connection, link } = this.#api;
    const subject = this.#api.subject(`DIRECT.GET.${this.#names.stream}`);
    const inbox = createInbox(link.options.inboxPrefix);
    return new Promise((resolve, reject) => {
      const entries: LogEntry[] = [];
      let pending = 0;
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        for (const stop of stops) stop();
        subscription.unsubscribe();
        finish();
      };
      const receive = (message: Msg) => {
        timer.refresh();
        const code = message.headers?.code ?? 0;
        if (code === 0) {
          const entry = entryOf(message);
          if (entry !== null) entries.push(entry);
          return;
        }
        const left = message.headers?.get(HEADERS.pending);
        if (code === 204) pending = Number(left ?? 0);
        const done = code === 204 || code === 404;
        settle(() => resolve(done ? { entries, pending } : null));
      };
      const subscription = connection.subscribe(inbox, {
        callback: (error, message) => {
          if (error === null) receive(message);
          else settle(() => reject(deniedError(error)));
        },
      });
      const timer = setTimeout(() => settle(() => resolve(null)), SILENCE);
      const stops = [
        link.onChange((up) => up || settle(() => resolve(null))),
        link.onRefusal((error) => {
          if (error.operation === 'publish' && error.subject === subject)
            settle(() => reject(deniedError(error)));
        }),
      ];
      connection.publish(subject, JSON.stringify(query), { reply: inbox });
    });
  }
}

interface StoredMessage {
  readonly seq: number;
  /** Base64, absent where empty. */
  readonly data?: string;
  readonly hdrs?: string;
}

/** The entry in a message that the server handed out or republished; null where it is neither. */
export function entryOf(message: Msg): LogEntry | null {
  const seq = Number(message.headers?.get(HEADERS.sequence));
  // A copy, of a Buffer that is a part of whatever came from the socket with it.
  return Number.isSafeInteger(seq) && seq > 0 ? { seq, data: new Uint8Array(message.data) } : null;
}

function idIn(headers: string): string {
  const text = Buffer.from(headers, 'base64').toString();
  return new RegExp(`^${HEADERS.id}: ?(.*)\r$`, 'm').exec(text)?.[1] ?? '';
}
