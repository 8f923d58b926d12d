/**
 * How long a run on three servers stands still when the server that leads its log is killed: from the kill to the next
 * round that any member reaches.
 *
 *     node bench/leader.ts [--kills 5] [--workers 4]
 */
import { parseArgs } from 'node:util';
import { Fleet } from '../test/nats/fleet.ts';
import { TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '5' }, workers: { type: 'string', default: '4' } },
});
const system = await NatsSystem.start({ count: 3 });
const job = await TestJob.make(system, 1 << 24);
const fleet = await Fleet.make(job, { rounds: 1_000_000, expected: Number(values.workers), witnessEvery: 1 });
const seconds: number[] = [];
try {
  fleet.startAll(Number(values.workers));
  await fleet.reach(50);
  for (let i = 0; i < Number(values.kills); i++) {
    const leader = await job.leader();
    await system.kill(leader);
    const { round } = fleet;
    const began = performance.now();
    // What was on its way counts for nothing.
    await fleet.reach(round + 3);
    seconds.push((performance.now() - began) / 1000);
    await system.start(leader);
    await fleet.reach(fleet.round + 50);
  }
  const last = [...fleet.members];
  for (const member of last) member.cancel();
  await Promise.all(last.map(({ ended }) => ended));
  const ledger = await fleet.verdict();
  console.log(
    `${values.workers} workers, three servers, the leader killed ${seconds.length} times: the run went on after ` +
      `${seconds.map((s) => s.toFixed(1)).join(', ')} s; 0 divergences, the end's digest is the replay's: ${ledger.end !== null}`,
  );
} finally {
  await fleet.stop();
  await job.close();
  await system.end();
}
