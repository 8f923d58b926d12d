import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { ENVELOPE_FORMAT } from '../../worker/journal/envelope.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger } from '../../worker/journal/ledger.ts';
import { LogConflict } from '../../worker/log/log.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import { inboxPrefix } from '../../worker/nats/names.ts';
import { type User, workerPermissions } from '../../worker/nats/permissions.ts';
import { createStream } from '../../worker/nats/stream.ts';
import { chooser } from '../replica/run.ts';
import { missing } from '../tools/tool.ts';
import { Fleet, type FleetOptions } from './fleet.ts';
import { TestJob } from './job.ts';
import { NatsSystem } from './server.ts';
import { cutStore } from './store.ts';

const skip = await missing('nats-server');
const MAX_BYTES = 1 << 24;

/** A run on its own server, ended and checked whatever comes of it. */
async function onServer(
  count: 1 | 3,
  options: FleetOptions,
  run: (fleet: Fleet, system: NatsSystem) => Promise<void>,
): Promise<void> {
  const system = await NatsSystem.start({ count });
  const job = await TestJob.make(system, MAX_BYTES);
  const fleet = await Fleet.make(job, options);
  try {
    await run(fleet, system);
  } finally {
    await fleet.stop();
    await job.close();
    await system.end();
  }
}

/** That all members see the same end, which a replay of the log gives too. */
async function finishes(fleet: Fleet, rounds: number): Promise<void> {
  const ends = await Promise.all([...fleet.members].map(({ ended }) => ended));
  const ledger = await fleet.verdict();
  assert.equal(ledger.end?.round, rounds);
  for (const end of ends) {
    assert.equal(end?.type, 'done', JSON.stringify(end));
    assert.equal(end?.type === 'done' && end.digest, ledger.end.digest);
  }
}

describe('a run on NATS', { skip, concurrency: false }, () => {
  it('agrees on every state, and ends with the digest that a replay of its log gives', () =>
    onServer(1, { rounds: 120, expected: 4, choices: { rounds: [60, 60] } }, async (fleet) => {
      fleet.startAll(4);
      await finishes(fleet, 120);
    }));

  it('survives that its server is killed and started again, many times', () =>
    onServer(1, { rounds: 300, expected: 3, probeMs: 2 }, async (fleet, system) => {
      fleet.startAll(3);
      for (let i = 1; i <= 8; i++) {
        await fleet.reach(i * 30);
        await system.kill();
        await system.start();
      }
      await finishes(fleet, 300);
    }));

  it('takes back what its server lost, time and again, wherever the cut was', () =>
    onServer(1, { rounds: 300, expected: 3, probeMs: 2 }, async (fleet, system) => {
      fleet.startAll(3);
      const cuts = [1, 2, 5, 40, 3, 90];
      for (const [i, cut] of cuts.entries()) {
        const mark = (i + 1) * 40;
        fleet.forget(mark - 1);
        await fleet.reach(mark);
        await system.kill();
        await cutStore(system, fleet.job.names.stream, cut, { notes: i % 2 === 0 ? 'keep' : 'drop' });
        await system.start();
      }
      await finishes(fleet, 300);
      assert.ok(fleet.rewinds >= 3 * cuts.length - 3, `${fleet.rewinds} rewinds`);
    }));

  it('goes on from an older copy of its log that a restored backup brings', () =>
    onServer(1, { rounds: 200, expected: 3, probeMs: 2 }, async (fleet, system) => {
      fleet.startAll(3);
      await fleet.reach(40);
      await system.stop();
      await system.save('backup');
      await system.start();
      await fleet.reach(120);
      await system.kill();
      await system.restore('backup');
      await system.start();
      await finishes(fleet, 200);
      assert.ok(fleet.rewinds >= 3);
    }));

  it('starts over when its server lost everything but the job is made again', () =>
    onServer(1, { rounds: 100, expected: 3, probeMs: 2 }, async (fleet, system) => {
      fleet.startAll(3);
      const genesis = (await (await fleet.job.log()).last())!.data;
      await fleet.reach(50);
      await system.kill();
      await system.wipe();
      await system.start();
      const connection = await fleet.job.connect();
      await createStream(connection, fleet.job.names, { maxBytes: MAX_BYTES });
      const log = new NatsLog(connection, fleet.job.names);
      await log.append(genesis, { expectedLast: 0, id: 'genesis' });
      await finishes(fleet, 100);
    }));

  it('goes on when the leader of three servers is killed, and when it comes back with an empty disk', () =>
    onServer(3, { rounds: 250, expected: 3, probeMs: 2 }, async (fleet, system) => {
      fleet.startAll(3);
      await fleet.reach(50);
      const leader = await fleet.job.leader();
      await system.kill(leader);
      await fleet.reach(fleet.round + 50);
      await system.wipe(leader);
      await system.start(leader);
      await fleet.reach(fleet.round + 50);
      await finishes(fleet, 250);
    }));

  it('survives a server that hangs', () =>
    onServer(1, { rounds: 150, expected: 3, probeMs: 2 }, async (fleet, system) => {
      fleet.startAll(3);
      await fleet.reach(50);
      system.pause();
      await new Promise((resolve) => setTimeout(resolve, 3000));
      system.resume();
      await finishes(fleet, 150);
    }));

  it('survives wall clocks that jump by hours, ahead and back, also while its server is away', () =>
    onServer(1, { rounds: 300, expected: 3, probeMs: 2 }, async (fleet, system) => {
      const preload = join(import.meta.dirname, 'jumping-clock.ts');
      fleet.startAll(1);
      for (const worker of ['odd-1', 'odd-2']) fleet.start(worker, { preload });
      for (let i = 1; i <= 3; i++) {
        await fleet.reach(i * 60);
        await system.kill();
        await system.start();
      }
      await finishes(fleet, 300);
      assert.ok(fleet.jumps >= 10, `${fleet.jumps} jumps`);
    }));

  it('survives members that are killed and come back, and lets one leave in order', () =>
    onServer(1, { rounds: 300, expected: 4, probeMs: 2 }, async (fleet) => {
      const choose = chooser(7);
      const leaver = fleet.startAll(4)[0]!;
      for (let i = 1; i <= 8; i++) {
        await fleet.reach(i * 20);
        const members = [...fleet.members].filter((member) => member !== leaver);
        const victim = members[choose(members.length)]!;
        await victim.kill();
        fleet.start(victim.worker);
      }
      leaver.leave();
      const left = await leaver.ended;
      assert.equal(left?.type === 'done' && left.outcome, 'left');
      assert.equal(left?.type === 'done' && left.released, true);
      await finishes(fleet, 300);
    }));

  it('survives two members with one identity', () =>
    onServer(1, { rounds: 150, expected: 3, probeMs: 2 }, async (fleet) => {
      fleet.start('w', { life: '00000001' });
      fleet.start('w', { life: '00000001' });
      fleet.startAll(2);
      await finishes(fleet, 150);
    }));

  it('ignores what a hostile writer puts on its log', () =>
    onServer(1, { rounds: 150, expected: 3, probeMs: 2 }, async (fleet) => {
      fleet.startAll(3);
      const log = await fleet.job.log();
      const choose = chooser(11);
      const honest: Uint8Array[] = [];
      let ledger = emptyLedger();
      let followed = 0;
      for (let i = 1, written = 0; written < 40; i++) {
        await fleet.reach(Math.min(100, i));
        const last = (await log.last())!;
        honest.push(last.data);
        for await (const entry of log.read(followed + 1, last.seq)) {
          followed = entry.seq;
          const outcome = follow(ledger, entry);
          if (!('ignored' in outcome)) ledger = outcome.ledger;
        }
        // Another version's, a kind that nobody knows after the newest record, noise, an old record again, and the newest
        // one with a byte changed.
        const forged = [
          Uint8Array.of(0xb1, 2),
          Uint8Array.of(0xb1, ENVELOPE_FORMAT, ...ledger.chain, 0, 99),
          Uint8Array.from({ length: 1 + choose(200) }, () => choose(256)),
          honest[choose(honest.length)]!,
          last.data.with(choose(last.data.length), choose(256)),
        ][i % 5]!;
        try {
          await log.append(forged, { expectedLast: last.seq, id: `hostile-${i}` });
          written++;
        } catch (error) {
          if (!(error instanceof LogConflict)) throw error;
        }
      }
      await finishes(fleet, 150);
    }));

  it('stops when its log is full, and says so', async () => {
    const system = await NatsSystem.start();
    const job = await TestJob.make(system, 8000);
    const fleet = await Fleet.make(job, { rounds: 200, expected: 2 });
    const ends = await Promise.all(fleet.startAll(2).map(({ ended }) => ended));
    for (const end of ends) assert.equal(end?.type === 'failed' && end.code, 'LogFull', JSON.stringify(end));
    const ledger = await fleet.verdict();
    assert.ok(ledger.round > 0 && ledger.end === null);
    await job.close();
    await system.end();
  });
});

describe('a run with credentials', { skip }, () => {
  const workers = ['w0', 'w1', 'w2'];
  const systems: NatsSystem[] = [];
  after(() => Promise.all(systems.map((system) => system.end())));

  it('works with permissions for each worker alone, and says what is wrong with others', async () => {
    const admin = { user: 'admin', password: 'admin' };
    const system = await NatsSystem.start({ config: { authorization: { users: [admin] } } });
    systems.push(system);
    const job = await TestJob.make(system, MAX_BYTES, admin);
    const users: User[] = workers.map((user) => ({
      user,
      password: user,
      permissions: workerPermissions({ names: job.names }, user),
    }));
    await system.reload({ authorization: { users: [admin, ...users] } });
    const fleet = await Fleet.make(
      job,
      {
        rounds: 100,
        expected: 3,
        nats: (user) => ({ user, password: user, inboxPrefix: inboxPrefix(job.names.uid, user) }),
      },
      admin,
    );
    const members = workers.map((worker) => fleet.start(worker));
    const wrong = fleet.start('w3', { nats: { servers: system.urls, user: 'w0', password: 'wrong' } });
    const foreign = fleet.start('w3', {
      nats: { servers: system.urls, user: 'w0', password: 'w0', inboxPrefix: inboxPrefix('other', 'w0') },
    });
    for (const { ended } of [wrong, foreign]) {
      const end = await ended;
      assert.equal(end?.type === 'failed' && end.code, 'NATS_DENIED', JSON.stringify(end));
    }
    const ends = await Promise.all(members.map(({ ended }) => ended));
    const ledger = await fleet.verdict(admin);
    assert.equal(ledger.end?.round, 100);
    for (const end of ends) assert.equal(end?.type === 'done' && end.digest, ledger.end.digest);
    await fleet.stop();
    await job.close();
  });

  it('ends for a member that takes the identity of another worker, with the reason', async () => {
    const [system] = systems;
    const admin = { user: 'admin', password: 'admin' };
    const job = await TestJob.make(system!, MAX_BYTES, admin);
    const permissions = workerPermissions({ names: job.names }, 'w0');
    await system!.reload({
      authorization: { users: [admin, { user: 'w0', password: 'w0', permissions }] },
    });
    const fleet = await Fleet.make(job, { rounds: 100 }, admin);
    const nats = {
      servers: system!.urls,
      user: 'w0',
      password: 'w0',
      inboxPrefix: inboxPrefix(job.names.uid, 'w0'),
    };
    const end = await fleet.start('w1', { nats }).ended;
    assert.equal(end?.type === 'failed' && end.code, 'NATS_DENIED', JSON.stringify(end));
    await job.close();
  });
});
