import { createServer } from 'node:net';

/**
 * A TCP port on which nobody listens now. Taken from below the range that the kernel gives to outgoing connections,
 * at random, so that parallel runs rarely meet; whoever binds it must still be ready to ask again.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port, host)) return port;
  }
  throw new Error('no free port between 20000 and 32000');
}

/** A free port for each name, no two the same. */
export async function freePorts<Name extends string>(names: readonly Name[]): Promise<Record<Name, number>> {
  const chosen = new Set<number>();
  while (chosen.size < names.length) chosen.add(await freePort());
  return Object.fromEntries([...chosen].map((port, i) => [names[i], port])) as Record<Name, number>;
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
