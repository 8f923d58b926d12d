import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import type { LogJob, LogPort, LogState } from '../../../operator/jobs/log-port.ts';
import { OWN_SELECTOR } from '../../../operator/jobs/names.ts';
import {
  type Client,
  configMaps,
  podDisruptionBudgets,
  pods,
  realClock,
  serviceAccounts,
  services,
} from '../../../operator/kube/mod.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { clientOf, seeded, until } from '../kube/setup.ts';
import { manifest } from './builder.ts';
import { applyCrd, getJob, MemoryLogs, podsOf, startOperator } from './harness.ts';

const skip = await clusterMissing();
/** For a long run: `KILLS=1000 SEED=2`. */
const kills = Number(process.env.KILLS ?? 30);
const seed = Number(process.env.SEED ?? 5);

/** A call without the names of objects: `POST pods`, `PATCH finetunejobs/status`. */
function placeOf(change: string): string {
  const [method, path = ''] = change.split(' ');
  const [, resource, , subresource] = /namespaces\/[^/]+\/([^/?]+)(\/[^/?]+)?(\/[^/?]+)?/.exec(path) ?? [];
  return `${method} ${resource}${subresource ?? ''}`;
}

/** The logs as one operator sees them, until it is dead. */
class DyingLogs implements LogPort {
  readonly #logs: MemoryLogs;
  readonly #before: (what: string) => void;

  constructor(logs: MemoryLogs, before: (what: string) => void) {
    this.#logs = logs;
    this.#before = before;
  }

  async create(job: LogJob): Promise<string> {
    this.#before('create');
    return this.#logs.create(job);
  }

  async last(job: LogJob): Promise<LogState> {
    this.#before('last');
    return this.#logs.last(job);
  }

  async remove(job: LogJob): Promise<void> {
    this.#before('remove');
    return this.#logs.remove(job);
  }

  credentials(): Promise<null> {
    return Promise.resolve(null);
  }

  leave(): void {}

  async close(): Promise<void> {}
}

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
    const random = seeded(seed);
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

    const settled = async () => {
      const jobs = await client.listAll(fineTuneJobs);
      if (jobs.length !== wanted.size) return false;
      const all = await client.listAll(pods, { labelSelector: OWN_SELECTOR });
      return jobs.every(({ metadata: { name } }) => {
        const own = all.filter(({ metadata }) => metadata.labels?.['onebyte.dev/job'] === name);
        return own.length === wanted.get(name);
      });
    };

    const places = new Map<string, number>();
    const dying: Promise<unknown>[] = [];
    while (killed < kills) {
      await disturb();
      await disturb();
      // It may change so much, then it is dead: a call under way is lost, and everything in memory with it.
      let left = pick(25);
      let place: string | null = null;
      const died = Promise.withResolvers<void>();
      /** Before a call that changes something, on the API server or on the one that keeps the logs. */
      const before = (what: string) => {
        if (place === null && left-- > 0) return undefined;
        place ??= what;
        died.resolve();
        return 'dead';
      };
      const own = new DyingLogs(logs, (what) => {
        if (what !== 'last' && before(`log: ${what}`) === 'dead') throw new Error('dead');
      });
      const operator = await startOperator(cluster, own, {
        mayWrite: (change) => before(placeOf(change)),
      });
      await Promise.race([operator.leading, died.promise]);
      // An operator that has nothing left to do is not killed, but replaced all the same.
      while (place === null && !(await settled())) await Promise.race([died.promise, realClock.sleep(20)]);
      await Promise.race([died.promise, realClock.sleep(100)]);
      if (place !== null) {
        killed++;
        places.set(place, (places.get(place) ?? 0) + 1);
      }
      left = 0;
      // What was on its way may still arrive while the next one is at work already.
      dying.push(operator.stop().catch(() => undefined));
    }
    await Promise.all(dying);

    const operator = await startOperator(cluster, logs);
    await operator.leading;
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
    t.diagnostic(`${killed} operators were killed, over ${made} jobs; before`);
    for (const [place, count] of [...places].sort((a, b) => b[1] - a[1])) t.diagnostic(`${count} x ${place}`);
  });
});
