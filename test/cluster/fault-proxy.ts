import { readFile } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';

export interface ProxiedRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly isWatch: boolean;
}

/** What goes wrong with one request. */
export type Fault =
  /** The proxy answers itself, as an API server or a gateway would. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly retryAfter?: number;
      readonly reason?: string;
    }
  /** The request waits before it is passed on. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** The connection is reset before the request is passed on. */
  | { readonly kind: 'reset' }
  /** The request is carried out, its answer is lost. */
  | { readonly kind: 'lost-answer' }
  /** The answer's head and half of its body arrive, then the connection is reset. */
  | { readonly kind: 'half-answer' }
  /** A watch starts with the event that says that its version is too old. */
  | { readonly kind: 'expired-event' }
  /** A watch carries a line that is not JSON. */
  | { readonly kind: 'garbage' }
  /** A watch is accepted and never says anything. */
  | { readonly kind: 'silent' };

/** Stands between a client and a real API server, as the administrator, and breaks what it is told to. Plain HTTP. */
export class FaultProxy {
  /** Asked about every request. */
  decide: (request: ProxiedRequest) => Fault | undefined = () => undefined;
  /** Requests seen, by fault or `passed`. */
  readonly seen = new Map<string, number>();
  readonly #cluster: Cluster;
  readonly #credentials: { ca: Buffer; cert: Buffer; key: Buffer };
  readonly #agent: https.Agent;
  readonly #server: http.Server;
  readonly #watches = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  readonly #frozen = new Set<ServerResponse>();

  static async start(cluster: Cluster): Promise<FaultProxy> {
    const read = (name: string) => readFile(join(cluster.pki, name));
    const [ca, cert, key] = await Promise.all([read('ca.crt'), read('admin.crt'), read('admin.key')]);
    const proxy = new FaultProxy(cluster, { ca, cert, key });
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  private constructor(cluster: Cluster, credentials: { ca: Buffer; cert: Buffer; key: Buffer }) {
    this.#cluster = cluster;
    this.#credentials = credentials;
    this.#agent = new https.Agent({ keepAlive: true, ...credentials });
    this.#server = http.createServer((request, response) => void this.#serve(request, response));
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Watches under way. */
  get watches(): number {
    return this.#watches.size;
  }

  /** Connections that clients hold. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Resets the connection of every watch under way. */
  cutWatches(): void {
    for (const response of this.#watches) response.socket?.resetAndDestroy();
  }

  /** The watches under way deliver nothing any more, without being closed. */
  freezeWatches(): void {
    for (const response of this.#watches) this.#frozen.add(response);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    this.#agent.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const isWatch = /[?&]watch=(true|1)/.test(path);
    const fault = this.decide({ method: request.method ?? 'GET', path, isWatch });
    const name =
      fault === undefined ? 'passed' : fault.kind === 'status' ? `status ${fault.status}` : fault.kind;
    this.seen.set(name, (this.seen.get(name) ?? 0) + 1);
    switch (fault?.kind) {
      case 'status':
        request.resume();
        answerStatus(response, fault);
        return;
      case 'reset':
        request.socket.resetAndDestroy();
        return;
      case 'silent':
        this.#track(response);
        response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
        return;
      case 'slow':
        await sleep(fault.ms);
    }
    this.#pass(request, response, isWatch, fault);
  }

  #pass(
    request: IncomingMessage,
    response: ServerResponse,
    isWatch: boolean,
    fault: Fault | undefined,
  ): void {
    const onward = https.request(`${this.#cluster.url}${request.url}`, {
      // The server may be restarted under us: a watch's connection is not worth keeping.
      ...(isWatch ? { agent: false, ...this.#credentials } : { agent: this.#agent }),
      method: request.method ?? 'GET',
      headers: withoutHost(request.headers),
    });
    onward.on('error', () => request.socket.resetAndDestroy());
    response.on('close', () => onward.destroy());
    onward.on('response', (answer) => {
      answer.on('error', () => request.socket.resetAndDestroy());
      if (isWatch) this.#relayWatch(answer, response, fault);
      else void relay(answer, response, fault).catch(() => request.socket.resetAndDestroy());
    });
    request.pipe(onward);
  }

  #relayWatch(answer: IncomingMessage, response: ServerResponse, fault: Fault | undefined): void {
    this.#track(response);
    response.writeHead(answer.statusCode ?? 502, withoutLength(answer.headers)).flushHeaders();
    if (fault?.kind === 'garbage') response.write('{"type":"ADDED","object":{"metadata":{"na\n');
    if (fault?.kind === 'expired-event') {
      const status = {
        kind: 'Status',
        code: 410,
        reason: 'Expired',
        message: 'too old resource version: 1 (2)',
      };
      response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
    }
    answer.on('data', (chunk: Buffer) => {
      if (!response.writableEnded && !this.#frozen.has(response)) response.write(chunk);
    });
    answer.on('end', () => {
      if (!this.#frozen.has(response)) response.end();
    });
  }

  #track(response: ServerResponse): void {
    this.#watches.add(response);
    response.once('close', () => {
      this.#watches.delete(response);
      this.#frozen.delete(response);
    });
  }
}

function answerStatus(response: ServerResponse, fault: Fault & { kind: 'status' }): void {
  const { status, retryAfter, reason = 'Injected' } = fault;
  const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  const body = {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    code: status,
    reason,
    message: 'injected fault',
  };
  response.end(JSON.stringify(body));
}

async function relay(
  answer: IncomingMessage,
  response: ServerResponse,
  fault: Fault | undefined,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  if (fault?.kind === 'lost-answer') {
    response.socket?.resetAndDestroy();
    return;
  }
  response.writeHead(answer.statusCode ?? 502, {
    ...withoutLength(answer.headers),
    'content-length': body.length,
  });
  if (fault?.kind !== 'half-answer') {
    response.end(body);
    return;
  }
  response.write(body.subarray(0, body.length >> 1), () => response.socket?.resetAndDestroy());
}

function withoutHost({
  host: _,
  connection: __,
  ...rest
}: http.IncomingHttpHeaders): http.OutgoingHttpHeaders {
  return rest;
}

function withoutLength(headers: http.IncomingHttpHeaders): http.OutgoingHttpHeaders {
  const { 'content-length': _, 'transfer-encoding': __, connection: ___, ...rest } = headers;
  return rest;
}
