import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Served {
  readonly body: string | Uint8Array;
  /** The connection is cut after this many bytes of each answer. */
  readonly breakAfter?: number;
  /** Answers before the file comes: these statuses, one after the other. */
  readonly first?: number[];
  /** Never answers. */
  readonly silent?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  /** Leads on to another address. */
  readonly location?: string;
}

export interface FileServer {
  readonly url: string;
  readonly requests: {
    readonly path: string;
    readonly query: string;
    readonly headers: IncomingHttpHeaders;
  }[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** A real HTTP server on the loopback interface that knows ranges and can misbehave. */
export async function serve(files: Readonly<Record<string, Served>>): Promise<FileServer> {
  const requests: FileServer['requests'] = [];
  const server = createServer((request, response) => {
    const { pathname: path, search: query } = new URL(request.url!, 'http://x');
    requests.push({ path, query, headers: request.headers });
    const file = files[path];
    if (!file) return void response.writeHead(404).end();
    if (file.silent) return;
    const status = file.first?.shift();
    if (status) return void response.writeHead(status).end();
    for (const [name, value] of Object.entries(file.headers ?? {})) response.setHeader(name, value);
    if (file.location !== undefined)
      return void response.writeHead(302, { location: file.location }).end('elsewhere');
    const body = Buffer.from(file.body);
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (start > 0 && start >= body.length) {
      return void response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end();
    }
    const part = body.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': part.length,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
    });
    if (file.breakAfter === undefined || part.length <= file.breakAfter) return void response.end(part);
    // Time for the client to read it: what it has not read when the connection breaks is lost to it.
    response.write(part.subarray(0, file.breakAfter), () => setTimeout(() => response.destroy(), 100));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
