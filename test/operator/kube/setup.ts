import { Client, type ClientOptions } from '../../../operator/kube/client.ts';
import { realClock } from '../../../operator/kube/clock.ts';
import { loadConfig } from '../../../operator/kube/config.ts';
import type { Cluster } from '../../cluster/cluster.ts';
import type { FaultProxy } from '../../cluster/fault-proxy.ts';

type Changes = Partial<Omit<ClientOptions, 'config'>>;

/** A client of the real API server, as its administrator unless another kubeconfig is given. */
export async function clientOf(
  cluster: Cluster,
  changes: Changes = {},
  kubeconfig = cluster.kubeconfig,
): Promise<Client> {
  const config = await loadConfig({ clock: realClock, kubeconfig });
  return new Client({
    config,
    clock: realClock,
    random: Math.random,
    fieldManager: 'onebyte-test',
    ...changes,
  });
}

/** A client behind a fault proxy. */
export function clientThrough(proxy: FaultProxy, changes: Changes = {}): Client {
  const config = { server: new URL(proxy.url), namespace: 'default', tls: {}, headers: async () => ({}) };
  return new Client({
    config,
    clock: realClock,
    random: Math.random,
    fieldManager: 'onebyte-test',
    ...changes,
  });
}

/** Waits until something is so; for tests only, which must not assert how long it takes. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  limitMs = 60_000,
): Promise<number> {
  const begin = performance.now();
  while (!(await isSo())) {
    if (performance.now() - begin > limitMs) throw new Error(`not so after ${limitMs} ms: ${what}`);
    await realClock.sleep(10);
  }
  return performance.now() - begin;
}

/** A generator of numbers in [0, 1) that gives the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
