import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import { OWN_SELECTOR } from '../../../operator/jobs/names.ts';
import {
  type Client,
  configMaps,
  podDisruptionBudgets,
  pods,
  serviceAccounts,
  services,
} from '../../../operator/kube/mod.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { clientOf, seeded, until } from '../kube/setup.ts';
import { manifest } from './builder.ts';
import { applyCrd, getJob, MemoryLogs, podsOf, startOperator } from './harness.ts';

const skip = await clusterMissing();
/** `KILLS=1000` for the long run. */
const kills = Number(process.env.KILLS ?? 30);

describe('an operator that is killed between any two calls', { skip }, () => {
  let cluster: Cluster;
  let client: Client;

  before(async () => {
    cluster = await startCluster();
    client = await clientOf(cluster);
    await applyCrd(cluster);
  });
  after(async () => {
    client?.close();
    await cluster?.down();
  });

  const create = (name: string, spec: object) => client.create(fineTuneJobs, manifest(name, spec) as Job);
  const change = (name: string, spec: object) =>
    client.patch(fineTuneJobs, { namespace: 'default', name }, { spec }).catch(() => undefined);

  test('leaves no orphan, no duplicate and no lost job, whatever is asked for meanwhile', async (t) => {
    const random = seeded(5);
    const pick = (n: number) => Math.floor(random() * n);
    const logs = new MemoryLogs();
    const wanted = new Map<string, number>();
    let made = 0;
    let killed = 0;

    /** What people do while operators come and go. */
    const disturb = async (): Promise<void> => {
      const names = [...wanted.keys()];
      const name = names[pick(names.length)];
      const what = pick(5);
      if (name === undefined || (what === 0 && names.length < 6)) {
        const replicas = 1 + pick(4);
        const fresh = `job-${made++}`;
        await create(fresh, { replicas, max: 8 });
        wanted.set(fresh, replicas);
      } else if (what === 1) {
        await client.delete(fineTuneJobs, { namespace: 'default', name });
        wanted.delete(name);
      } else if (what === 2) {
        await change(name, { suspend: true });
        wanted.set(name, 0);
      } else if (what === 3) {
        const [pod] = await podsOf(client, name);
        if (pod) await client.delete(pods, pod.metadata).catch(() => undefined);
      } else {
        const replicas = 1 + pick(6);
        await change(name, { replicas, suspend: false });
        wanted.set(name, replicas);
      }
    };

    while (killed < kills) {
      await disturb();
      await disturb();
      // It may change so much, then it is dead: a call under way is lost, and everything in memory with it.
      let left = pick(25);
      let isDead = false;
      const died = Promise.withResolvers<void>();
      const die = () => {
        isDead = true;
        died.resolve();
        return 'dead';
      };
      logs.before = () => {
        if (isDead) throw new Error('dead');
      };
      const operator = await startOperator(cluster, logs, {
        mayWrite: () => (isDead || left-- <= 0 ? die() : undefined),
      });
      const isIdle = new Promise<void>((resolve) => setTimeout(resolve, 400));
      await Promise.race([died.promise, isIdle]);
      if (isDead) killed++;
      isDead = true;
      await operator.stop().catch(() => undefined);
    }
    logs.before = () => undefined;

    const operator = await startOperator(cluster, logs);
    await operator.leading;
    const settled = async () => {
      const jobs = await client.listAll(fineTuneJobs);
      if (jobs.length !== wanted.size) return false;
      const all = await client.listAll(pods, { labelSelector: OWN_SELECTOR });
      return jobs.every(({ metadata: { name } }) => {
        const own = all.filter(({ metadata }) => metadata.labels?.['onebyte.dev/job'] === name);
        return own.length === wanted.get(name);
      });
    };
    await until('everything is as people want it', settled);

    const jobs = await client.listAll(fineTuneJobs);
    assert.deepEqual(jobs.map(({ metadata }) => metadata.name).sort(), [...wanted.keys()].sort());
    const uids = new Set(jobs.map(({ metadata }) => metadata.uid!));
    const all = await client.listAll(pods, { labelSelector: OWN_SELECTOR });
    for (const { metadata } of all) {
      assert.ok(uids.has(metadata.ownerReferences?.[0]?.uid ?? ''), `${metadata.name} is an orphan`);
    }
    assert.equal(
      all.length,
      [...wanted.values()].reduce((sum, n) => sum + n, 0),
    );
    // Streams: those of jobs there are, and of no other. A job that was suspended from the start has none.
    for (const uid of logs.states.keys()) assert.ok(uids.has(uid), 'a stream without a job');
    for (const job of jobs)
      if (wanted.get(job.metadata.name)! > 0)
        assert.ok(logs.states.has(job.metadata.uid!), 'a job without a stream');
    // No garbage collector runs here: objects of jobs that are no more are its business, those of others are ours.
    for (const resource of [configMaps, serviceAccounts, services, podDisruptionBudgets]) {
      const children = await client.listAll<{ metadata: Job['metadata'] }>(resource, {
        labelSelector: OWN_SELECTOR,
      });
      for (const uid of uids) {
        const own = children.filter(({ metadata }) => metadata.ownerReferences?.[0]?.uid === uid);
        assert.ok(own.length <= 1);
      }
    }
    for (const { metadata } of jobs) {
      const job = await getJob(client, metadata.name);
      assert.equal(job.status?.observedGeneration, job.metadata.generation);
    }
    await operator.stop();
    t.diagnostic(`${killed} operators were killed, over ${made} jobs`);
  });
});
