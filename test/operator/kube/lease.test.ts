import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Client } from '../../../operator/kube/client.ts';
import { type Clock, realClock } from '../../../operator/kube/clock.ts';
import { Elector, type ElectorOptions, LeadershipLost, waitFor } from '../../../operator/kube/lease.ts';
import { leases } from '../../../operator/kube/object.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { FaultProxy } from '../../cluster/fault-proxy.ts';
import { clientOf, clientThrough, until } from './setup.ts';

const skip = await clusterMissing();
type Changes = Partial<Pick<ElectorOptions, 'client' | 'clock' | 'hasEnded'>>;
const quick = { leaseMs: 1_500, renewMs: 1_000, retryMs: 200 };

describe('waitFor', () => {
  test('what the holder wrote about time never matters, only how long ago its lease changed on our clock', () => {
    const time = fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
    fc.assert(
      fc.property(time, fc.nat(1e6), fc.nat(1e5), (renewTime, seenAt, since) => {
        const spec = { holderIdentity: 'other', leaseDurationSeconds: 15, renewTime };
        const wait = waitFor(spec, { resourceVersion: '1', seenAt }, seenAt + since, 'me', 1);
        assert.equal(wait, Math.max(0, 15_000 - since));
        assert.equal(
          waitFor({ ...spec, holderIdentity: '' }, { resourceVersion: '1', seenAt }, seenAt, 'me', 1),
          0,
        );
        assert.equal(waitFor(spec, { resourceVersion: '1', seenAt }, seenAt, 'other', 1), 0);
      }),
    );
  });
});

describe('Elector', { skip }, () => {
  let cluster: Cluster;
  let proxy: FaultProxy;
  let client: Client;
  let name = '';
  let tests = 0;

  before(async () => {
    cluster = await startCluster();
    proxy = await FaultProxy.start(cluster);
    client = await clientOf(cluster);
  });
  beforeEach(() => {
    name = `lease-${++tests}`;
    proxy.decide = () => undefined;
  });
  after(async () => {
    client?.close();
    await proxy?.close();
    await cluster?.down();
  });

  const electorOf = (identity: string, changes: Changes = {}) =>
    new Elector({
      client,
      clock: realClock,
      random: Math.random,
      namespace: 'default',
      name,
      identity,
      ...quick,
      ...changes,
    });

  /** Starts an elector that leads until told to stop, and says what becomes of it. */
  function start(identity: string, changes: Changes = {}) {
    const elector = electorOf(identity, changes);
    const stopper = new AbortController();
    const log: string[] = [];
    const running = elector
      .run(stopper.signal, async (signal) => {
        log.push('started');
        if (!signal.aborted) await once(signal, 'abort');
        log.push('stopped');
      })
      .catch((error: unknown) => log.push(error instanceof LeadershipLost ? 'lost' : String(error)));
    const stop = async () => {
      stopper.abort();
      await running;
    };
    return { elector, log, running, stop };
  }

  test('one of many leads, a clean stop hands over at once, and the record says so with micro times', async (t) => {
    const all = ['a', 'b', 'c'].map((identity) => start(identity));
    await until('a leader', () => all.some((one) => one.log.includes('started')));
    const first = all.find((one) => one.log.includes('started'))!;
    assert.ok(first.elector.isLeading);
    assert.equal(all.filter((one) => one.elector.isLeading).length, 1);
    const spec = (await client.get(leases, { namespace: 'default', name })).spec!;
    assert.match(spec.renewTime!, /\.\d{6}Z$/);
    await first.stop();
    assert.deepEqual(first.log, ['started', 'stopped']);
    const ms = await until('a successor', () => all.some((one) => one !== first && one.elector.isLeading));
    t.diagnostic(`hand-over after a clean stop: ${Math.round(ms)} ms`);
    const next = (await client.get(leases, { namespace: 'default', name })).spec!;
    assert.equal(next.leaseTransitions, (spec.leaseTransitions ?? 0) + 1);
    await Promise.all(all.map((one) => one.stop()));
    assert.equal((await client.get(leases, { namespace: 'default', name })).spec!.holderIdentity, '');
  });

  test('the lease of a process that is known to have ended is taken at once, any other only when its term is over', async () => {
    const held = { holderIdentity: 'pod_1', leaseDurationSeconds: 3600, leaseTransitions: 4 };
    await client.create(leases, { metadata: { namespace: 'default', name }, spec: held });
    const hasEnded = (holder: string) => holder.startsWith('pod_');
    const other = start('stranger_1', { hasEnded: (holder) => holder.startsWith('stranger_') });
    await realClock.sleep(3 * quick.retryMs);
    assert.ok(!other.elector.isLeading && other.elector.holder === 'pod_1');
    const next = start('pod_2', { hasEnded });
    await until('the next leads', () => next.elector.isLeading);
    const { spec } = await client.get(leases, { namespace: 'default', name });
    assert.deepEqual([spec?.holderIdentity, spec?.leaseTransitions], ['pod_2', 5]);
    await other.stop();
    await next.stop();
  });

  test('clocks that are hours off, and that run at other speeds, change nothing', async () => {
    const shifted = (hours: number, speed: number): Clock => ({
      now: () => realClock.now() + hours * 3_600_000,
      monotonic: () => realClock.monotonic() * speed,
      after: (ms, call) => realClock.after(ms / speed, call),
      sleep: (ms, signal) => realClock.sleep(ms / speed, signal),
    });
    const all = [start('past', { clock: shifted(-5, 1.1) }), start('future', { clock: shifted(7, 0.9) })];
    await until('a leader', () => all.some((one) => one.elector.isLeading));
    // Several lease times long: nobody takes a lease that is renewed, whatever its timestamps say.
    for (let n = 0; n < 60; n++) {
      assert.equal(all.filter((one) => one.elector.isLeading).length, 1);
      await realClock.sleep(50);
    }
    assert.equal(all.flatMap((one) => one.log).filter((word) => word === 'started').length, 1);
    await Promise.all(all.map((one) => one.stop()));
  });

  test('a leader cut off from the API server stops before anybody else starts', async () => {
    const cutOff = clientThrough(proxy);
    const old = start('old', { client: cutOff });
    await until('leading', () => old.elector.isLeading);
    const next = start('next');
    proxy.decide = () => ({ kind: 'reset' });
    await until('the next leads', () => {
      assert.ok(!(old.elector.isLeading && next.elector.isLeading), 'two at once');
      return next.elector.isLeading;
    });
    await old.running;
    assert.deepEqual(old.log, ['started', 'stopped', 'lost']);
    await next.stop();
    cutOff.close();
  });

  test('answers lost, late and refused while renewing do not cost the lease', async () => {
    const shaky = clientThrough(proxy);
    const one = start('shaky', { client: shaky });
    await until('leading', () => one.elector.isLeading);
    let calls = 0;
    const faults = [
      { kind: 'lost-answer' },
      { kind: 'status', status: 500 },
      { kind: 'slow', ms: 300 },
      { kind: 'status', status: 429, retryAfter: 1 },
    ] as const;
    proxy.decide = () => (++calls % 3 === 0 ? faults[(calls / 3) % faults.length] : undefined);
    await until('many renewals', () => calls > 26 || !one.elector.isLeading);
    assert.ok(one.elector.isLeading);
    await one.stop();
    assert.deepEqual(one.log, ['started', 'stopped']);
    shaky.close();
  });

  test('a lease taken away or deleted ends the lead at once', async () => {
    for (const how of ['taken', 'deleted']) {
      name = `lease-${how}`;
      const one = start('robbed');
      await until('leading', () => one.elector.isLeading);
      if (how === 'deleted') await client.delete(leases, { namespace: 'default', name });
      else await client.patch(leases, { namespace: 'default', name }, { spec: { holderIdentity: 'robber' } });
      await one.running;
      assert.deepEqual(one.log, ['started', 'stopped', 'lost']);
      assert.equal(one.elector.isLeading, false);
    }
  });

  test('times that could let two lead are refused', () => {
    const bad = { client, clock: realClock, random: Math.random, namespace: 'x', name: 'x', identity: 'x' };
    assert.throws(() => new Elector({ ...bad, leaseMs: 5_000, renewMs: 5_000 }), /need leaseMs > renewMs/);
  });

  test('fail-over between processes with the production times: clean stop and kill -9', async (t) => {
    const program = join(import.meta.dirname, 'leader.ts');
    const launch = (identity: string) => {
      const child = spawn(process.execPath, [program, cluster.kubeconfig, identity], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const leading = new Promise<void>((resolve) =>
        createInterface(child.stdout).once('line', () => resolve()),
      );
      return { child, leading };
    };
    const children: ChildProcess[] = [];
    try {
      const a = launch('a');
      children.push(a.child);
      await a.leading;
      const b = launch('b');
      children.push(b.child);
      await realClock.sleep(4_000);
      let begin = performance.now();
      a.child.kill('SIGTERM');
      await b.leading;
      t.diagnostic(`clean stop: next leader after ${Math.round(performance.now() - begin)} ms`);
      const c = launch('c');
      children.push(c.child);
      await realClock.sleep(4_000);
      begin = performance.now();
      b.child.kill('SIGKILL');
      await c.leading;
      t.diagnostic(`kill -9: next leader after ${Math.round(performance.now() - begin)} ms`);
    } finally {
      for (const child of children) child.kill('SIGKILL');
    }
  });
});
