/**
 * What a round costs that measures nothing: workers in processes of their own, all on this machine, over NATS with one
 * server and over the embedded log, and beside them the messages of the first alone (`lib/bare-exchange.ts`). A round is
 * from one record to the next as a worker sees it. They take turns, and the best repetition counts, so that other work on
 * the machine falls on all alike.
 *
 *     node bench/barrier.ts [--workers 16] [--rounds 3000] [--warm 1000] [--probes 1] [--repeat 3] [--state]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Done, Fleet, TestMember } from '../test/nats/fleet.ts';
import { freshUid, TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { genesisFor, jobOf, PLAIN_CHOICES } from '../test/simulation/job.ts';
import { BusHub } from '../worker/bus/ipc.ts';
import { emptyLedger, sealRecord } from '../worker/journal/index.ts';
import { childChannel } from '../worker/log/channel.ts';
import { EmbeddedLog } from '../worker/log/embedded.ts';
import { serveLog } from '../worker/log/ipc.ts';

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '3000' },
    /** Rounds at the start that do not count: programs are compiled while they run. */
    warm: { type: 'string', default: '1000' },
    probes: { type: 'string', default: '1' },
    repeat: { type: 'string', default: '3' },
    /** Keep a small state, and move it by every record. */
    state: { type: 'boolean', default: false },
  },
});
const [workers, rounds, warm, probes, repeat] = [
  values.workers,
  values.rounds,
  values.warm,
  values.probes,
  values.repeat,
].map(Number) as [number, number, number, number, number];
const stateless = !values.state;
const BARE = join(import.meta.dirname, 'lib/bare-exchange.ts');

type Costs = Pick<Done, 'times' | 'cpu'>;

async function overNats(): Promise<Done[]> {
  const system = await NatsSystem.start();
  const job = await TestJob.make(system, 1 << 28);
  const fleet = await Fleet.make(job, {
    rounds,
    probes,
    digestEvery: 0,
    expected: workers,
    stateless,
    witnessEvery: 0,
  });
  const ends = await ended(fleet.startAll(workers));
  await job.close();
  await system.end();
  return ends;
}

/** The messages alone, with nothing of ours between them. */
async function bare(): Promise<Costs[]> {
  const system = await NatsSystem.start();
  const job = await TestJob.make(system, 1 << 28);
  const { uid, log } = job.names;
  const members = Array.from({ length: workers }, (_, i) =>
    fork(BARE, [system.urls[0]!, uid, `${i}`, `${workers}`, `${rounds}`]),
  );
  await Promise.all(members.map((member) => once(member, 'message')));
  const ends = members.map(async (member) => (await once(member, 'message'))[0] as Costs);
  const connection = await job.connect();
  connection.publish(log, new Uint8Array(100));
  const costs = await Promise.all(ends);
  await job.close();
  await system.end();
  return costs;
}

async function overEmbedded(): Promise<Done[]> {
  const folder = mkdtempSync(join(tmpdir(), 'onebyte-barrier-'));
  const log = await EmbeddedLog.open(join(folder, 'log'));
  const hub = new BusHub();
  const uid = freshUid();
  const genesis = { ...genesisFor(jobOf({ ...PLAIN_CHOICES, rounds: [rounds], probes })), uid };
  await log.append(sealRecord(emptyLedger(), genesis), { expectedLast: 0, id: 'genesis' });
  const members = Array.from({ length: workers }, (_, i) => {
    const config = { worker: `w${i}`, expected: workers, stages: 1, probeMs: 0, stateless, witnessEvery: 0 };
    return new TestMember(
      { nats: null, uid, ...config },
      () => {},
      (child) => {
        serveLog(log, childChannel(child));
        hub.attach(childChannel(child));
      },
    );
  });
  const ends = await ended(members);
  await log.close();
  rmSync(folder, { recursive: true });
  return ends;
}

async function ended(members: readonly TestMember[]): Promise<Done[]> {
  const ends = await Promise.all(members.map((member) => member.ended));
  return ends.map((end) => {
    if (end?.type !== 'done') throw new Error(JSON.stringify(end));
    return end;
  });
}

interface Row {
  readonly transport: string;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  /** Milliseconds of processor time per worker and round, start included. */
  readonly cpu: number;
}

function rowOf(transport: string, ends: readonly Costs[]): Row {
  const times = ends.flatMap(({ times }) => times.slice(warm)).sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))]!;
  const cpu = ends.reduce((sum, end) => sum + end.cpu / end.times.length, 0) / ends.length / 1000;
  return { transport, p50: at(0.5), p90: at(0.9), p99: at(0.99), cpu };
}

const best = new Map<string, Row>();
for (let i = 0; i < repeat; i++)
  for (const [transport, run] of [
    ['NATS, one server', overNats],
    ['embedded log', overEmbedded],
    ['NATS, messages alone', bare],
  ] as const) {
    const load = loadavg()[0]!;
    const row = rowOf(transport, await run());
    console.error(`${transport}: p50 ${row.p50.toFixed(2)} ms (load before: ${load.toFixed(1)})`);
    if (row.p50 < (best.get(transport)?.p50 ?? Number.POSITIVE_INFINITY)) best.set(transport, row);
  }

console.log(
  `${workers} workers, ${probes} probes each, ${rounds - warm} rounds after ${warm}, ${stateless ? 'no state' : 'a small state'}`,
);
console.log('transport              p50 ms   p90 ms   p99 ms   processor ms per worker and round');
for (const { transport, p50, p90, p99, cpu } of best.values())
  console.log(
    transport.padEnd(21) +
      [p50, p90, p99].map((ms) => ms.toFixed(2).padStart(9)).join('') +
      cpu.toFixed(2).padStart(9),
  );
