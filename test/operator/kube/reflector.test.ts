import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Client } from '../../../operator/kube/client.ts';
import { realClock } from '../../../operator/kube/clock.ts';
import { Gone } from '../../../operator/kube/errors.ts';
import { Informer, type InformerOptions } from '../../../operator/kube/informer.ts';
import { type ConfigMap, configMaps } from '../../../operator/kube/object.ts';
import { SilentWatch } from '../../../operator/kube/reflector.ts';
import { everywhere, parseScope } from '../../../operator/kube/scope.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { type Fault, FaultProxy } from '../../cluster/fault-proxy.ts';
import { clientOf, clientThrough, seeded, until } from './setup.ts';

const skip = await clusterMissing();
const label = 'onebyte.dev/test';

interface Run {
  readonly informer: Informer<ConfigMap>;
  readonly failures: unknown[];
  readonly counts: { lists: number; watches: number };
  /** What a listener that only hears events believes to be there. */
  readonly heard: Map<string, string>;
  stop(): Promise<void>;
}

describe('Reflector and Informer', { skip }, () => {
  let cluster: Cluster;
  let proxy: FaultProxy;
  let direct: Client;
  let series = 0;
  let selector = '';

  before(async () => {
    cluster = await startCluster();
    proxy = await FaultProxy.start(cluster);
    direct = await clientOf(cluster);
  });
  beforeEach(() => {
    proxy.decide = () => undefined;
    selector = `${label}=s${++series}`;
  });
  after(async () => {
    direct?.close();
    await proxy?.close();
    await cluster?.down();
  });

  const object = (name: string, value = '0', namespace = 'default'): ConfigMap => ({
    metadata: { namespace, name: `s${series}-${name}`, labels: { [label]: `s${series}` } },
    data: { value },
  });

  function follow(changes: Partial<InformerOptions<ConfigMap>> = {}): Run {
    const client = clientThrough(proxy, { attempts: 1 });
    const failures: unknown[] = [];
    const counts = { lists: 0, watches: 0 };
    const informer = new Informer<ConfigMap>({
      client,
      resource: configMaps,
      clock: realClock,
      random: seeded(series),
      scope: everywhere,
      labelSelector: selector,
      backoff: { firstMs: 20, longestMs: 200 },
      on: {
        listed: () => counts.lists++,
        watching: () => counts.watches++,
        failed: (error) => failures.push(error),
      },
      onHandlerError: (error) => failures.push(error),
      ...changes,
    });
    const heard = new Map<string, string>();
    const note = (o: ConfigMap) => heard.set(o.metadata.uid!, o.metadata.resourceVersion!);
    informer.store.subscribe({
      add: note,
      update: (_, o) => note(o),
      delete: (o) => assert.ok(heard.delete(o.metadata.uid!)),
    });
    const stopper = new AbortController();
    const running = informer.run(stopper.signal);
    const stop = async () => {
      stopper.abort();
      await running;
      client.close();
    };
    return { informer, failures, counts, heard, stop };
  }

  /** Whether the store, and whoever only listened, hold exactly what the server holds. */
  async function isEqual({ informer, heard }: Run): Promise<boolean> {
    const truth = await direct.listAll(configMaps, { labelSelector: selector });
    const line = (o: ConfigMap) => `${o.metadata.uid} ${o.metadata.resourceVersion} ${o.data?.value}`;
    const stored = [...informer.store.values()].map(line).sort().join();
    const listened = [...heard]
      .map(([uid, version]) => `${uid} ${version}`)
      .sort()
      .join();
    const versions = truth
      .map((o) => `${o.metadata.uid} ${o.metadata.resourceVersion}`)
      .sort()
      .join();
    return stored === truth.map(line).sort().join() && listened === versions;
  }

  test('pages of a list and later changes arrive, each object without its managed fields', async () => {
    for (let n = 0; n < 7; n++) await direct.create(configMaps, object(`${n}`));
    const run = follow({ pageSize: 3 });
    await run.informer.synced;
    assert.equal(run.informer.store.size, 7);
    await direct.apply(configMaps, object('0', '1'));
    await direct.delete(configMaps, object('1').metadata);
    await direct.create(configMaps, object('new'));
    await until('equal', () => isEqual(run));
    assert.deepEqual(run.counts, { lists: 1, watches: 1 });
    for (const o of run.informer.store.values()) assert.equal(o.metadata.managedFields, undefined);
    await run.stop();
    assert.deepEqual(run.failures, []);
    await until('no watch left', () => proxy.watches === 0);
  });

  test('a watch that is cut resumes where it was, without a list', async () => {
    const run = follow();
    await run.informer.synced;
    for (let n = 0; n < 5; n++) {
      await until('watching', () => proxy.watches === 1);
      proxy.cutWatches();
      await direct.create(configMaps, object(`${n}`));
      await until('equal', () => isEqual(run));
    }
    assert.equal(run.counts.lists, 1);
    await run.stop();
  });

  test('a version that is too old, told by status or by event, leads to a list, with tombstones for what went unseen', async () => {
    await direct.create(configMaps, object('gone'));
    for (const fault of [
      { kind: 'status', status: 410, reason: 'Expired' },
      { kind: 'expired-event' },
    ] as const) {
      const run = follow();
      await run.informer.synced;
      await until('watching', () => proxy.watches === 1);
      // Held back until the change below is made, so that the watch cannot see it; then the fault, once.
      let next: Fault | undefined = { kind: 'reset' };
      proxy.decide = ({ isWatch }) => {
        if (!isWatch) return undefined;
        const now = next;
        if (now?.kind !== 'reset') next = undefined;
        return now;
      };
      const tombstones: boolean[] = [];
      run.informer.store.subscribe({ delete: (_, isFinal) => tombstones.push(isFinal) });
      proxy.cutWatches();
      await direct.delete(configMaps, object('gone').metadata);
      await direct.create(configMaps, object('gone', '2'));
      next = fault;
      await until('equal', () => isEqual(run));
      assert.equal(run.counts.lists, 2);
      assert.ok(run.failures.some((error) => error instanceof Gone));
      assert.deepEqual(tombstones, [false]);
      await run.stop();
    }
  });

  test('a really compacted version leads to a list', async () => {
    const run = follow();
    await run.informer.synced;
    await until('watching', () => proxy.watches === 1);
    // Refused for so long that the API server, started anew, no longer has the version in its cache or in etcd.
    proxy.decide = ({ isWatch }) => (isWatch ? { kind: 'reset' } : undefined);
    proxy.cutWatches();
    for (let n = 0; n < 5; n++) await direct.apply(configMaps, object('a', String(n)));
    const { metadata } = await direct.get(configMaps, object('a').metadata);
    await cluster.compact(Number(metadata.resourceVersion));
    await cluster.stopApiServer();
    await cluster.startApiServer();
    proxy.decide = () => undefined;
    await until('equal', () => isEqual(run));
    assert.equal(run.counts.lists, 2);
    assert.ok(run.failures.some((error) => error instanceof Gone));
    await run.stop();
  });

  test('a watch that went silent is given up, and two in a row mean a list', async () => {
    const run = follow({ silenceMs: 300 });
    await run.informer.synced;
    await until('watching', () => proxy.watches === 1);
    proxy.freezeWatches();
    let silent = 1;
    proxy.decide = ({ isWatch }) => (isWatch && silent-- > 0 ? { kind: 'silent' } : undefined);
    await direct.create(configMaps, object('unheard'));
    await until('equal', () => isEqual(run));
    assert.ok(run.failures.some((error) => error instanceof SilentWatch));
    assert.ok(run.counts.lists >= 2);
    await run.stop();
  });

  test('an API server that is killed and started again under a running reflector is followed on', async (t) => {
    const run = follow();
    await run.informer.synced;
    await direct.create(configMaps, object('before'));
    await until('equal', () => isEqual(run));
    const stopped = performance.now();
    await cluster.stopApiServer();
    await cluster.startApiServer();
    const ready = performance.now();
    await direct.create(configMaps, object('after'));
    await until('equal', () => isEqual(run));
    t.diagnostic(
      `API server away ${Math.round(ready - stopped)} ms, equal ${Math.round(performance.now() - ready)} ms later`,
    );
    await run.stop();
  });

  test('refused for a while (403), it goes on asking', async () => {
    let left = 3;
    proxy.decide = () => (left-- > 0 ? { kind: 'status', status: 403, reason: 'Forbidden' } : undefined);
    const run = follow();
    await run.informer.synced;
    assert.equal(run.failures.length, 3);
    await run.stop();
  });

  test('a list of namespaces is one store, and others stay out of it', async () => {
    await cluster.kubectl(['create', 'namespace', `ns${series}-a`]);
    await cluster.kubectl(['create', 'namespace', `ns${series}-b`]);
    const run = follow({ scope: parseScope(`ns${series}-a,ns${series}-b`) });
    await run.informer.synced;
    for (const namespace of [`ns${series}-a`, `ns${series}-b`, 'default'])
      await direct.create(configMaps, object('x', '0', namespace));
    await until('two', () => run.informer.store.size === 2);
    assert.deepEqual([...run.informer.store.keys()].sort(), [
      `ns${series}-a/s${series}-x`,
      `ns${series}-b/s${series}-x`,
    ]);
    await run.stop();
  });

  test('under random faults and random changes the store ends equal to the server, for several seeds', async (t) => {
    for (let seed = 1; seed <= 4; seed++) {
      selector = `${label}=s${++series}`;
      const random = seeded(seed);
      const run = follow({ pageSize: 4, silenceMs: 400, watchMs: 1_000 });
      const faults: Fault[] = [
        { kind: 'status', status: 410, reason: 'Expired' },
        { kind: 'status', status: 429, retryAfter: 1 },
        { kind: 'status', status: 500 },
        { kind: 'status', status: 503 },
        { kind: 'slow', ms: 100 },
        { kind: 'reset' },
        { kind: 'half-answer' },
        { kind: 'lost-answer' },
        { kind: 'expired-event' },
        { kind: 'garbage' },
        { kind: 'silent' },
      ];
      proxy.decide = ({ isWatch }) => {
        if (random() < 0.4) return undefined;
        const fault = faults[Math.floor(random() * faults.length)]!;
        const isForWatches = ['expired-event', 'garbage', 'silent'].includes(fault.kind);
        return isForWatches && !isWatch ? undefined : fault;
      };
      for (let n = 0; n < 150; n++) {
        const name = `${Math.floor(random() * 12)}`;
        const draw = random();
        if (draw < 0.3) await direct.delete(configMaps, object(name).metadata).catch(() => undefined);
        else await direct.apply(configMaps, object(name, String(n)));
        if (draw > 0.95) proxy.cutWatches();
        if (draw > 0.9 && draw < 0.92) proxy.freezeWatches();
        await realClock.sleep(random() * 15);
      }
      proxy.decide = () => undefined;
      await until('equal', () => isEqual(run));
      t.diagnostic(
        `seed ${seed}: ${run.counts.lists} lists, ${run.counts.watches} watches, ${run.failures.length} failures`,
      );
      await run.stop();
    }
    t.diagnostic(`requests: ${[...proxy.seen].map(([name, n]) => `${name} ${n}`).join(', ')}`);
  });
});
