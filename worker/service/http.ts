import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OnebyteError } from '../errors.ts';
import type { Verdict } from './health.ts';

export interface Pages {
  /** By path. */
  readonly checks: Readonly<Record<string, () => Verdict>>;
  readonly metrics: () => Promise<string>;
  readonly metricsType: string;
}

export const METRICS_PATH = '/metrics';
/** Kubelets and scrapers ask anew each time; who keeps a connection open for nothing is let go. */
const IDLE_MS = 5000;

/** Serves health checks (200 or 503 with a line of text) and metrics, to whoever asks. */
export class HealthServer {
  readonly #server: Server;
  readonly port: number;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  /** @param port 0 for any that is free @throws OnebyteError WORKER_CONFIG_INVALID where it cannot be listened on */
  static async listen(pages: Pages, port: number, host?: string): Promise<HealthServer> {
    const server = createServer((request, response) => {
      // Not `new URL`: it throws for what anybody may send, such as `//`, and would end the worker.
      const path = (request.url ?? '/').split('?')[0]!;
      if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 405, 'GET or HEAD\n');
      else if (path === METRICS_PATH)
        pages.metrics().then(
          (text) => answer(response, 200, text, pages.metricsType),
          (error: unknown) => answer(response, 500, `${String(error)}\n`),
        );
      else {
        const verdict = Object.hasOwn(pages.checks, path) ? pages.checks[path]!() : null;
        if (verdict === null)
          answer(response, 404, `${[METRICS_PATH, ...Object.keys(pages.checks)].join('\n')}\n`);
        else answer(response, verdict.ok ? 200 : 503, `${verdict.text}\n`);
      }
    });
    server.keepAliveTimeout = IDLE_MS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, ...(host === undefined ? {} : { host }) }, resolve);
    }).catch((cause: NodeJS.ErrnoException) => {
      throw new OnebyteError('WORKER_CONFIG_INVALID', `cannot listen on port ${port}: ${cause.message}`, {
        field: 'ONEBYTE_PORT',
        cause,
        remedy: 'Choose another port, or 0 for any that is free.',
      });
    });
    return new HealthServer(server);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function answer(
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}
