import {
  errors,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type RequestOptions,
} from '@nats-io/transport-node';
import { deniedError, isClosed, isDenied, saysNobody, unavailable } from './failure.ts';
import { Link } from './link.ts';
import { apiPrefix } from './names.ts';

/** Numbers that the server gives to what goes wrong (its `errors.json`). */
export const API_CODES = {
  notFound: 10037,
  noJetStream: 10039,
  storageExceeded: 10047,
  messageTooLarge: 10054,
  streamExists: 10058,
  streamMissing: 10059,
  wrongLast: 10071,
  storeFailed: 10077,
  accountStorage: 10002,
  wrongLastUnknown: 10164,
} as const;

/** What the server says while it starts, or while a cluster chooses a leader. */
const PASSING = new Set([10008, 10023, 10116, 10118]);

/** The server's refusal of a request. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  constructor(code: number, description: string) {
    super(description);
    this.code = code;
  }
}

export interface ApiOptions {
  /** JetStream domain, where the stream lives in another than the server that we are connected to. */
  readonly domain?: string;
  /** Longest wait for an answer, tries after lost connections and silence included, in milliseconds. */
  readonly timeoutMs?: number;
  /** Longest silence before a request is sent again, in milliseconds; after a lost connection it is sent at once. */
  readonly tryMs?: number;
}

const TIMEOUT = 5000;
/** One try; a message may have been lost with a connection or a server. */
const TRY = 2000;
const PAUSE = 50;

/** Requests to JetStream that are repeated until they are answered or their time is over. */
export class Api {
  readonly connection: NatsConnection;
  readonly link: Link;
  readonly timeoutMs: number;
  readonly #tryMs: number;
  readonly #prefix: string;

  constructor(connection: NatsConnection, options: ApiOptions = {}) {
    this.connection = connection;
    this.link = Link.of(connection);
    this.timeoutMs = options.timeoutMs ?? TIMEOUT;
    this.#tryMs = options.tryMs ?? TRY;
    this.#prefix = apiPrefix(options.domain);
  }

  subject(call: string): string {
    return `${this.#prefix}.${call}`;
  }

  /**
   * Calls the API with a JSON body.
   * @throws ApiError; LogUnavailable; OnebyteError NATS_DENIED.
   */
  async call<T>(name: string, body: unknown = {}): Promise<T> {
    const data = new TextEncoder().encode(JSON.stringify(body));
    for (const until = performance.now() + this.timeoutMs; ; ) {
      try {
        const answer = await this.send(this.subject(name), data, until);
        return parse<T>(answer);
      } catch (error) {
        if (!(error instanceof ApiError) || !PASSING.has(error.code)) throw error;
        if (performance.now() + PAUSE > until)
          throw unavailable(`JetStream cannot answer yet: ${error.message}`, error);
        await pause();
      }
    }
  }

  /**
   * One answer to one message, sent again after silence. `until` is by performance.now().
   * @throws LogUnavailable; OnebyteError NATS_DENIED.
   */
  async send(subject: string, data: Uint8Array, until: number, headers?: () => MsgHdrs): Promise<Msg> {
    let why: unknown;
    for (let left = until - performance.now(); left > 1; left = until - performance.now()) {
      if (!this.link.up && !(await this.link.whenUp(left))) break;
      const timeout = Math.max(1, Math.min(this.#tryMs, until - performance.now()));
      try {
        const answer = await this.#ask(subject, data, {
          timeout,
          ...(headers === undefined ? {} : { headers: headers() }),
        });
        if (answer !== null) return answer;
      } catch (error) {
        // The last try may have too little time to hear what the ones before did.
        if (!saysNobody(why)) why = error;
        if (isDenied(error)) throw deniedError(error);
        if (isClosed(error, this.connection)) break;
        if (!isSilence(error)) throw error;
        await pause();
      }
    }
    const reason = this.link.up ? 'the NATS server did not answer in time' : 'there is no connection to NATS';
    throw unavailable(reason, why);
  }

  /** Null where the connection is lost: what was sent over it may never be answered. */
  #ask(subject: string, data: Uint8Array, options: RequestOptions): Promise<Msg | null> {
    return new Promise((resolve, reject) => {
      const stop = this.link.onChange((up) => up || resolve(null));
      this.connection.request(subject, data, options).then(resolve, reject).finally(stop);
    });
  }
}

function isSilence(error: unknown): boolean {
  return (
    error instanceof errors.TimeoutError ||
    error instanceof errors.RequestError ||
    error instanceof errors.NoRespondersError
  );
}

/** The JSON of an answer. @throws ApiError where it is a refusal. */
export function parse<T>(message: Msg): T {
  const { error, ...answer } = message.json<{ error?: { err_code?: number; description?: string } }>();
  if (error !== undefined) throw new ApiError(error.err_code ?? 0, error.description ?? 'refused');
  return answer as T;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE));
}
