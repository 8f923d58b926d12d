import { backoffMs, type Clock, type Random } from './clock.ts';
import type { ClusterConfig } from './config.ts';
import {
  Aborted,
  ApiError,
  apiError,
  mayRetry,
  NetworkError,
  networkError,
  type Status,
  Timeout,
} from './errors.ts';
import { Gate } from './gate.ts';
import { type Answer, Transport } from './transport.ts';

export interface ClientOptions {
  readonly config: ClusterConfig;
  readonly clock: Clock;
  readonly random: Random;
  /** Owner of the fields that this client applies. */
  readonly fieldManager: string;
  readonly userAgent?: string;
  /** Bound on one attempt, from the call to the last byte of the answer. Default 30 s. */
  readonly timeoutMs?: number;
  /** Most attempts of one call. Default 4. */
  readonly attempts?: number;
  /** Most calls under way at once; watches do not count. Default 16. */
  readonly inFlight?: number;
  /** Told of the end of every attempt, for metrics; status 0 stands for no answer. */
  readonly onAttempt?: (method: string, status: number, seconds: number) => void;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  readonly attempts?: number;
  /** Does not wait for other calls to end: for the renewal of a lease. */
  readonly isUrgent?: boolean;
}

export interface Call extends CallOptions {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: object;
  /** Content type of the body; default JSON. */
  readonly type?: string;
  /** Whether doing it twice is the same as doing it once. */
  readonly isRepeatable: boolean;
}

/** Why the client refuses a change, such as `POST /api/v1/...`, or undefined when it may go ahead. */
export type WriteGuard = (change: string) => string | undefined;

/** A change was refused on this side, before anything was sent. */
export class WriteRefused extends Error {
  override readonly name = 'WriteRefused';
}

const retries = { firstMs: 100, longestMs: 5_000 };
const longestRetryAfterMs = 30_000;

/** Sends calls: credentials, time-outs, typed errors, bounded retries, and a bound on calls at once. */
export class Caller {
  readonly #options: ClientOptions;
  readonly #transport: Transport;
  readonly #gate: Gate;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#transport = new Transport(options.config);
    this.#gate = new Gate(options.inFlight ?? 16);
  }

  get connections(): number {
    return this.#transport.connections;
  }

  close(): void {
    this.#transport.close();
  }

  /** One call with its retries; the parsed answer. The guard is asked before every attempt at a change. */
  async call(call: Call, guard: WriteGuard): Promise<unknown> {
    const { clock, random } = this.#options;
    const attempts = call.attempts ?? this.#options.attempts ?? 4;
    for (let attempt = 1; ; attempt++) {
      try {
        if (call.isUrgent) return await this.#attempt(call, guard);
        return await this.#gate.pass(() => this.#attempt(call, guard), call.signal);
      } catch (error) {
        if (attempt >= attempts || !mayRetry(error, call.isRepeatable)) throw error;
        const asked = error instanceof ApiError ? error.retryAfterMs : undefined;
        // The server's word, spread by a tenth so that callers refused together do not return together.
        const wait =
          asked === undefined ? backoffMs(attempt - 1, retries, random) : asked * (1 + random() / 10);
        await clock.sleep(Math.min(wait, longestRetryAfterMs), call.signal);
      }
    }
  }

  /** Opens a stream; its body may take as long as it likes. Throws ApiError for any answer but 200. */
  async open(path: string, name: string, options: CallOptions): Promise<Answer> {
    const deadline = this.#deadline(name, options);
    try {
      const answer = await this.#send({ method: 'GET', path, isRepeatable: true }, deadline.signal);
      if (answer.statusCode !== 200) throw await errorOf(name, answer);
      // Only the wait for the head is bounded; the caller's signal goes on working.
      deadline.lift();
      answer.once('close', deadline.end);
      return answer;
    } catch (error) {
      deadline.end();
      throw deadline.explain(error);
    }
  }

  async #attempt(call: Call, guard: WriteGuard): Promise<unknown> {
    const name = nameOfCall(call);
    const refusal = call.method === 'GET' ? undefined : guard(name);
    if (refusal !== undefined) throw new WriteRefused(`${name}: ${refusal}`);
    const { clock, onAttempt } = this.#options;
    const started = clock.monotonic();
    let status = 0;
    const deadline = this.#deadline(name, call);
    try {
      const answer = await this.#send(call, deadline.signal);
      status = answer.statusCode ?? 0;
      if (status >= 300) throw await errorOf(name, answer);
      return parse(name, await textOf(answer));
    } catch (error) {
      throw deadline.explain(error);
    } finally {
      deadline.end();
      onAttempt?.(call.method, status, (clock.monotonic() - started) / 1_000);
    }
  }

  /** Sends with credentials; after a 401 once more with fresh ones, since tokens are replaced while we run. */
  async #send(call: Call, signal: AbortSignal, isFresh = false): Promise<Answer> {
    const { config, userAgent = 'onebyte' } = this.#options;
    const headers = {
      accept: 'application/json',
      'user-agent': userAgent,
      ...(await config.headers(isFresh)),
    };
    const { method, path } = call;
    const request =
      call.body === undefined
        ? { method, path, headers, signal }
        : {
            method,
            path,
            headers: { ...headers, 'content-type': call.type ?? 'application/json' },
            body: JSON.stringify(call.body),
            signal,
          };
    const answer = await this.#transport.send(request);
    if (answer.statusCode !== 401 || isFresh) return answer;
    answer.resume();
    return this.#send(call, signal, true);
  }

  /** A signal that follows the caller's and also ends at the time-out. */
  #deadline(name: string, { signal, timeoutMs = this.#options.timeoutMs ?? 30_000 }: CallOptions) {
    const controller = new AbortController();
    let isLate = false;
    const follow = () => controller.abort();
    if (signal?.aborted) follow();
    signal?.addEventListener('abort', follow, { once: true });
    const lift = this.#options.clock.after(timeoutMs, () => {
      isLate = true;
      controller.abort();
    });
    return {
      signal: controller.signal,
      lift,
      end: () => {
        lift();
        signal?.removeEventListener('abort', follow);
      },
      explain: (error: unknown): Error => {
        if (error instanceof ApiError) return error;
        if (isLate) return new Timeout(`${name}: no answer within ${timeoutMs} ms`, false, error);
        if (signal?.aborted) return new Aborted(`${name}: aborted`, { cause: error });
        return networkError(name, error);
      },
    };
  }
}

function nameOfCall({ method, path }: Call): string {
  return `${method} ${path.split('?')[0]}`;
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new NetworkError(`${name}: the answer is not JSON`, false, cause);
  }
}

async function textOf(answer: Answer): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** The error that an answer with a status of 300 or more stands for. */
async function errorOf(call: string, answer: Answer): Promise<ApiError> {
  const text = await textOf(answer);
  let body: Status;
  try {
    body = JSON.parse(text);
  } catch {
    // Proxies and overloaded servers answer in plain text.
    body = { message: text.trim().slice(0, 200) || `HTTP ${answer.statusCode}` };
  }
  const seconds = Number(answer.headers['retry-after']);
  return apiError(answer.statusCode ?? 0, body, {
    call,
    retryAfterMs: seconds > 0 ? seconds * 1_000 : undefined,
  });
}
