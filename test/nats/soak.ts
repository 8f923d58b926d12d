/**
 * A run on NATS under all faults at once: members killed, the server killed, its log's end cut off. Prints what came of
 * it as JSON and exits 1 unless all agreed all the time and the log replays to its own last digest.
 *
 *     node test/nats/soak.ts [--members 8] [--kills 1000] [--restarts 50] [--cuts 10] [--pause 2000] [--seed 1]
 */
import { parseArgs } from 'node:util';
import { chooser } from '../replica/run.ts';
import { Fleet } from './fleet.ts';
import { TestJob } from './job.ts';
import { NatsSystem } from './server.ts';
import { cutStore } from './store.ts';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '8' },
    kills: { type: 'string', default: '1000' },
    restarts: { type: 'string', default: '50' },
    cuts: { type: 'string', default: '10' },
    /** Milliseconds between two faults, on average; the run has to move in between. */
    pause: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
  },
});
const [members, kills, restarts, cuts] = [values.members, values.kills, values.restarts, values.cuts].map(
  Number,
) as [number, number, number, number];
const choose = chooser(Number(values.seed));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

type Fault = 'kill' | 'restart' | 'cut';
const faults: Fault[] = [
  ...Array.from({ length: kills }, () => 'kill' as const),
  ...Array.from({ length: restarts }, () => 'restart' as const),
  ...Array.from({ length: cuts }, () => 'cut' as const),
];
for (let i = faults.length - 1; i > 0; i--) {
  const j = choose(i + 1);
  [faults[i], faults[j]] = [faults[j]!, faults[i]!];
}

const system = await NatsSystem.start();
const job = await TestJob.make(system, 1 << 30);
const fleet = await Fleet.make(job, {
  rounds: 100_000_000,
  expected: members,
  probeMs: 5,
  digestEvery: 100,
  witnessEvery: 2,
});
const began = performance.now();
let entriesLost = 0;
let failed = 0;
try {
  fleet.startAll(members);
  await fleet.reach(20);
  for (const [i, fault] of faults.entries()) {
    await Promise.all([
      sleep(Number(values.pause) * (0.5 + choose(1000) / 1000)),
      fleet.reach(fleet.round + 1),
    ]);
    if (fault === 'kill') {
      const alive = [...fleet.members];
      const victim = alive[choose(alive.length)];
      if (victim !== undefined) await victim.kill();
    } else {
      await system.kill();
      if (fault === 'cut') {
        const last = fleet.round;
        const lost = 1 + choose(Math.max(1, Math.min(300, Math.floor(last / 2))));
        await cutStore(system, job.names.stream, lost, { notes: choose(2) === 0 ? 'keep' : 'drop' });
        entriesLost += lost;
        fleet.forget(0);
      }
      await system.start();
    }
    while (fleet.members.size < members) {
      const started = fleet.start(`w${choose(members)}`);
      started.ended.then((end) => {
        if (end?.type === 'failed') failed++;
      });
    }
    if (i % 50 === 0) console.error(`${i} of ${faults.length} faults, round ${fleet.round}`);
  }
  await fleet.reach(fleet.round + 20);
  // One that has only just started does not hear that the run is to end.
  while ([...fleet.members].some(({ moved }) => !moved)) await fleet.reach(fleet.round + 1);
  const last = [...fleet.members];
  for (const member of last) member.cancel();
  const ends = await Promise.all(last.map(({ ended }) => ended));
  const ledger = await fleet.verdict();
  const odd = ends.filter((end) => end?.type !== 'done' || end.digest !== ledger.end?.digest);
  const agreed = odd.length === 0;
  console.log(
    JSON.stringify({
      members,
      kills,
      restarts,
      cuts,
      entriesLost,
      rewinds: fleet.rewinds,
      divergences: fleet.diverged,
      failed,
      rounds: ledger.totals.rounds,
      digest: ledger.end?.digest ?? null,
      agreed,
      odd: odd.map((end) => (end?.type === 'done' ? `${end.outcome} ${end.digest}` : end)),
      seconds: Math.round((performance.now() - began) / 1000),
    }),
  );
  process.exitCode = agreed && failed === 0 ? 0 : 1;
} finally {
  await fleet.stop();
  await job.close();
  await system.end();
}
