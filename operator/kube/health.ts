import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

/** Undefined when all is well, else what is not. */
export type Check = () => string | undefined;

export interface HealthOptions {
  /** When one of these fails, the process should be restarted. */
  readonly live: Readonly<Record<string, Check>>;
  /** When one of these fails, the process cannot do its work yet. */
  readonly ready: Readonly<Record<string, Check>>;
  readonly registry: Registry;
}

/** Answers /healthz (also /livez), /readyz and /metrics. */
export class HealthServer {
  readonly #options: HealthOptions;
  readonly #server: Server;

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      const path = request.url?.split('?')[0];
      void this.#answer(request.method, path, response).catch((error: unknown) => {
        reply(response, 500, `${error instanceof Error ? error.message : error}\n`);
      });
    });
    this.#server.keepAliveTimeout = 5_000;
  }

  /** Gives the port, for port 0 the one that the system chose. */
  async listen(port: number, host?: string): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeIdleConnections();
    await closed;
  }

  async #answer(
    method: string | undefined,
    path: string | undefined,
    response: ServerResponse,
  ): Promise<void> {
    const { live, ready, registry } = this.#options;
    if (method !== 'GET' && method !== 'HEAD') return reply(response, 405, 'only GET\n');
    if (path === '/healthz' || path === '/livez') return report(response, live);
    if (path === '/readyz') return report(response, ready);
    if (path !== '/metrics') return reply(response, 404, 'try /healthz, /readyz or /metrics\n');
    reply(response, 200, await registry.metrics(), registry.contentType);
  }
}

function report(response: ServerResponse, checks: Readonly<Record<string, Check>>): void {
  const lines = Object.entries(checks).map(([name, check]) => ({ name, problem: check() }));
  const isWell = lines.every((line) => line.problem === undefined);
  const text = lines.map(({ name, problem }) =>
    problem === undefined ? `[+] ${name}` : `[-] ${name}: ${problem}`,
  );
  reply(response, isWell ? 200 : 503, `${[...text, isWell ? 'ok' : 'failed'].join('\n')}\n`);
}

function reply(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
