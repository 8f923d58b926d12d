import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { ClusterConfig } from './config.ts';

export interface Request {
  readonly method: string;
  /** Path with query, e.g. `/api/v1/pods?limit=500`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Ends the request, also while its answer is read. */
  readonly signal: AbortSignal;
}

// Node closes a free connection after this; one in use is only told, and nobody listens.
const idleMs = 5_000;

/** The head of an answer; its body must be read to the end or destroyed. */
export type Answer = IncomingMessage;

/**
 * One pool of connections to the API server for calls and watches alike. Plain HTTP/1.1 of Node: a watch holds one
 * connection, all calls share the rest, and one that was idle for 5 s is closed, so that at rest only those that are used
 * remain. (client-node 2.0.1 opens a new TLS connection for every call.)
 */
export class Transport {
  readonly #server: URL;
  readonly #agent: http.Agent;
  readonly #isSecure: boolean;

  constructor(config: ClusterConfig) {
    this.#server = config.server;
    this.#isSecure = config.server.protocol === 'https:';
    const pool = { keepAlive: true, keepAliveMsecs: 15_000, maxFreeSockets: 16, timeout: idleMs };
    this.#agent = this.#isSecure ? new https.Agent({ ...pool, ...config.tls }) : new http.Agent(pool);
  }

  /** Connections open now, idle ones included. */
  get connections(): number {
    const count = (pool: NodeJS.ReadOnlyDict<unknown[]>) =>
      Object.values(pool).reduce((sum, sockets) => sum + (sockets?.length ?? 0), 0);
    return count(this.#agent.sockets) + count(this.#agent.freeSockets);
  }

  /** Sends a request and waits for the head of the answer; rejects with Node's own errors. */
  send({ method, path, headers, body, signal }: Request): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
      const request = (this.#isSecure ? https : http).request({
        agent: this.#agent,
        host: this.#server.hostname.replace(/^\[|\]$/g, ''),
        port: this.#server.port || (this.#isSecure ? 443 : 80),
        method,
        path: this.#server.pathname.replace(/\/$/, '') + path,
        headers: { ...headers, ...length },
        signal,
      });
      request.on('response', resolve);
      request.on('error', reject);
      request.end(body);
    });
  }

  /** Closes every connection; calls under way fail. */
  close(): void {
    this.#agent.destroy();
  }
}
