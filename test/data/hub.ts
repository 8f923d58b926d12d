import { createHash } from 'node:crypto';
import { type FileServer, type Served, serve } from './server.ts';

export const hash = (algorithm: string, ...parts: (string | Uint8Array)[]): string =>
  parts
    .reduce((sum: ReturnType<typeof createHash>, part) => sum.update(part), createHash(algorithm))
    .digest('hex');

export const COMMIT = 'c'.repeat(40);

export interface HubOptions {
  readonly revision?: string;
  /** What is served in place of a file's own bytes, under the digests of those. */
  readonly altered?: Readonly<Record<string, string>>;
}

/**
 * A server of the hub's layout, with one repository: `/REPOSITORY/resolve/REVISION/PATH`, by branch until the commit is
 * known and by commit then. Small files come with the SHA-1 of git as their ETag; large ones (weights) are redirects to a store
 * elsewhere, and the answer that leads there has their SHA-256.
 */
export async function serveHub(
  repository: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  { revision = 'main', altered = {} }: HubOptions = {},
): Promise<FileServer & { readonly store: FileServer }> {
  const entries = Object.entries(files);
  const isLarge = (name: string) => /[.](safetensors|gguf|onnx)$/.test(name);
  const bytes = (name: string) => altered[name] ?? files[name]!;
  const large = entries.filter(([name]) => isLarge(name));
  const store = await serve(
    Object.fromEntries(large.map(([name]) => [`/store/${name}`, { body: bytes(name) }])),
  );
  const answers = entries.map(([name, body]): [string, Served] => {
    const own = Buffer.from(body);
    const commit = { 'x-repo-commit': COMMIT };
    if (!isLarge(name)) {
      const etag = `"${hash('sha1', `blob ${own.length}\0`, own)}"`;
      return [name, { body: bytes(name), headers: { ...commit, etag } }];
    }
    const headers = {
      ...commit,
      'x-linked-etag': `"${hash('sha256', own)}"`,
      'x-linked-size': String(own.length),
    };
    return [name, { body: '', headers, location: `${store.url}/store/${name}` }];
  });
  const server = await serve(
    Object.fromEntries(
      answers.flatMap(([name, served], i) => [
        // The branch has moved on once the first file was asked for.
        ...(i === 0 ? [[`/${repository}/resolve/${revision}/${name}`, served] as const] : []),
        [`/${repository}/resolve/${COMMIT}/${name}`, served] as const,
      ]),
    ),
  );
  return {
    ...server,
    store,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}
