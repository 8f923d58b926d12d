import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pino } from 'pino';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import { OWN_SELECTOR } from '../../../operator/jobs/names.ts';
import { type Client, pods, realClock } from '../../../operator/kube/mod.ts';
import { operate } from '../../../operator/main.ts';
import { operatorSettings } from '../../../operator/settings.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { FaultProxy, type ProxiedRequest } from '../../cluster/fault-proxy.ts';
import { clientOf, seeded, until } from '../kube/setup.ts';
import { manifest } from './builder.ts';
import { applyCrd, MemoryLogs, podsOf } from './harness.ts';

const skip = await clusterMissing();

describe('an operator whose API server fails it', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let proxy: FaultProxy;
  const ender = new AbortController();
  let life: Promise<void>;
  const logs = new MemoryLogs();
  /** What the operator takes for the time, ahead of everybody else's. */
  let skewMs = 0;

  before(async () => {
    cluster = await startCluster();
    client = await clientOf(cluster);
    await applyCrd(cluster);
    proxy = await FaultProxy.start(cluster);
    const env = {
      ONEBYTE_IMAGE: 'onebyte:1',
      ONEBYTE_NATS_URL: 'nats://nats:4222',
      ONEBYTE_PORT: '0',
      ONEBYTE_HOST: '127.0.0.1',
      ONEBYTE_LEADER_ELECTION: 'true',
    };
    life = operate({
      settings: {
        ...operatorSettings(env),
        pollMs: 100,
        lease: { leaseMs: 60_000, renewMs: 50_000, retryMs: 500 },
      },
      port: logs,
      config: { server: new URL(proxy.url), namespace: 'default', tls: {}, headers: async () => ({}) },
      clock: { ...realClock, now: () => Date.now() + skewMs },
      logger: pino({ level: 'silent' }),
      version: 'test',
      signal: ender.signal,
    });
    life.catch(() => undefined);
  });
  after(async () => {
    if (proxy !== undefined) proxy.decide = () => undefined;
    ender.abort();
    await life?.catch(() => undefined);
    await proxy?.close();
    client?.close();
    await cluster?.down();
  });

  const count = async () => (await client.listAll(pods, { labelSelector: OWN_SELECTOR })).length;
  const names = async () =>
    (await client.listAll(pods, { labelSelector: OWN_SELECTOR })).map((pod) => pod.metadata.name);
  let next = 0;
  let wanted = 0;
  const make = async (jobs: number, replicas: number) => {
    for (let i = 0; i < jobs; i++)
      await client.create(fineTuneJobs, manifest(`job-${next++}`, { replicas }) as Job);
    wanted += jobs * replicas;
  };
  const untilAll = () => until(`${wanted} pods`, async () => (await count()) === wanted, 120_000);
  /** A share of all calls, watches and the lease's included, fails with one of these. */
  const failing = (
    share: number,
    faults: readonly ReturnType<FaultProxy['decide']>[],
    isHit: (r: ProxiedRequest) => boolean = () => true,
  ) => {
    const random = seeded(11);
    proxy.decide = (request) =>
      isHit(request) && random() < share ? faults[Math.floor(random() * faults.length)] : undefined;
  };
  const calm = () => {
    proxy.decide = () => undefined;
  };

  test('calls that fail with 429, 500, 503, resets, lost and half answers, or slowly, end as if they had not', async () => {
    await make(1, 2);
    await untilAll();
    failing(0.3, [
      { kind: 'status', status: 429, retryAfter: 1 },
      { kind: 'status', status: 500 },
      { kind: 'status', status: 503 },
      { kind: 'status', status: 504 },
      { kind: 'reset' },
      { kind: 'lost-answer' },
      { kind: 'half-answer' },
      { kind: 'slow', ms: 300 },
    ]);
    await make(8, 4);
    await untilAll();
    calm();
    assert.equal(new Set(await names()).size, wanted);
  });

  test('watches that are cut, expire, go silent or carry garbage miss nothing for long', async () => {
    failing(
      0.5,
      [{ kind: 'expired-event' }, { kind: 'garbage' }, { kind: 'reset' }, { kind: 'status', status: 410 }],
      ({ isWatch }) => isWatch,
    );
    for (let i = 0; i < 5; i++) {
      proxy.cutWatches();
      await make(1, 3);
      const [first] = await podsOf(client, `job-${i}`);
      await client.delete(pods, first!.metadata);
      await realClock.sleep(200);
    }
    await untilAll();
    calm();
    proxy.cutWatches();
    await make(1, 2);
    await untilAll();
  });

  test('an API server that is killed and starts again finds the operator at work', async () => {
    await make(2, 3);
    await cluster.stopApiServer();
    await realClock.sleep(500);
    await cluster.startApiServer();
    await make(2, 3);
    await untilAll();
    const [first] = await podsOf(client, 'job-3');
    await client.delete(pods, first!.metadata);
    await untilAll();
  });

  test('a clock that is an hour wrong moves no decision but that of the clocks', async () => {
    skewMs = 3_600_000;
    await make(1, 2);
    await untilAll();
    skewMs = -3_600_000;
    await make(1, 2);
    await untilAll();
    skewMs = 0;
    const jobs = await client.listAll(fineTuneJobs);
    await until('every job is seen', async () =>
      (await client.listAll(fineTuneJobs)).every(({ status }) => status?.observedGeneration === 1),
    );
    assert.equal(jobs.length, next);
  });
});
