import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Client } from '../../../operator/kube/client.ts';
import { realClock } from '../../../operator/kube/clock.ts';
import { Recorder, type RecorderOptions } from '../../../operator/kube/events.ts';
import { type ConfigMap, configMaps, events } from '../../../operator/kube/object.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { FaultProxy } from '../../cluster/fault-proxy.ts';
import { clientOf, clientThrough, until } from './setup.ts';

const skip = await clusterMissing();

describe('Recorder', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let proxy: FaultProxy;
  let about: ConfigMap;

  before(async () => {
    cluster = await startCluster();
    proxy = await FaultProxy.start(cluster);
    client = await clientOf(cluster);
  });
  after(async () => {
    client?.close();
    await proxy?.close();
    await cluster?.down();
  });

  const subject = async (name: string): Promise<ConfigMap> =>
    client.create(configMaps, { metadata: { namespace: 'default', name } });
  const recorderOf = (changes: Partial<RecorderOptions> = {}): Recorder => {
    const names = { controller: 'onebyte.dev/operator', instance: 'pod-1' };
    return new Recorder({ client, clock: realClock, random: Math.random, ...names, ...changes });
  };
  const written = async (object: ConfigMap) =>
    (await client.listAll(events, { namespace: 'default' })).filter(
      (e) => e.regarding?.uid === object.metadata.uid,
    );
  const created = (note: string) =>
    ({ type: 'Normal', reason: 'WorkerPodCreated', action: 'CreatePod', note }) as const;

  test('an event says what happened to which object, and kubectl shows it', async () => {
    about = await subject('told');
    const recorder = recorderOf();
    recorder.record(configMaps, about, created('created pod x-0'));
    await recorder.flush();
    const [event, ...others] = await written(about);
    assert.equal(others.length, 0);
    assert.equal(event?.note, 'created pod x-0');
    assert.equal(event?.reportingController, 'onebyte.dev/operator');
    assert.equal(event?.series, undefined);
    assert.match(
      await cluster.kubectl(['events', '--for', 'configmap/told']),
      /WorkerPodCreated\s+ConfigMap\/told\s+created pod x-0/,
    );
  });

  test('repeats become one series with its count', async () => {
    about = await subject('again');
    const recorder = recorderOf({ spacingMs: 100 });
    for (let n = 0; n < 40; n++) {
      recorder.record(configMaps, about, created('the same'));
      recorder.record(configMaps, about, created('the same'));
      await realClock.sleep(5);
    }
    await recorder.flush();
    const all = await written(about);
    assert.equal(all.length, 1);
    assert.equal(all[0]?.series?.count, 80);
  });

  test('a repeat that waits for its turn is written without a flush', async () => {
    about = await subject('later');
    const recorder = recorderOf({ spacingMs: 100 });
    recorder.record(configMaps, about, created('x'));
    await until('first', async () => (await written(about)).length === 1);
    recorder.record(configMaps, about, created('x'));
    await until('series', async () => (await written(about))[0]?.series?.count === 2);
  });

  test('an object has a budget of different events; others are not affected', async () => {
    about = await subject('noisy');
    const other = await subject('quiet');
    const dropped: string[] = [];
    const recorder = recorderOf({ burst: 5, on: { dropped: (why) => dropped.push(why) } });
    for (let n = 0; n < 30; n++) recorder.record(configMaps, about, created(`event ${n}`));
    recorder.record(configMaps, other, created('heard'));
    await recorder.flush();
    assert.equal((await written(about)).length, 5);
    assert.equal((await written(other)).length, 1);
    assert.deepEqual(new Set(dropped), new Set(['rate']));
    assert.equal(dropped.length, 25);
  });

  test('an API server that refuses costs events, never the caller', async () => {
    about = await subject('refused');
    const dropped: string[] = [];
    const broken = clientThrough(proxy, { attempts: 2 });
    proxy.decide = () => ({ kind: 'status', status: 403, reason: 'Forbidden' });
    const recorder = recorderOf({ client: broken, on: { dropped: (why) => dropped.push(why) } });
    recorder.record(configMaps, about, created('lost'));
    await recorder.flush();
    assert.deepEqual(dropped, ['error']);
    proxy.decide = () => undefined;
    recorder.record(configMaps, about, created('lost'));
    await recorder.flush();
    assert.equal((await written(about)).length, 1);
    broken.close();
  });

  test('a long history is not kept for ever', async () => {
    about = await subject('memory');
    const dropped: string[] = [];
    const recorder = recorderOf({
      memory: 3,
      burst: 100,
      seriesMs: 50,
      on: { dropped: (why) => dropped.push(why) },
    });
    for (let n = 0; n < 5; n++) recorder.record(configMaps, about, created(`event ${n}`));
    assert.deepEqual(dropped, ['memory', 'memory']);
    await recorder.flush();
    await realClock.sleep(60);
    recorder.record(configMaps, about, created('after'));
    await recorder.flush();
    assert.equal((await written(about)).length, 4);
  });
});
