/**
 * Bytes that a run costs each worker over NATS: payload, and on its socket with everything around it.
 *
 *     node bench/nats.ts [--rounds 2000]
 *
 * The setting to compare with is DeComFL's (Li et al., ICLR 2025): 5 probes a round, each a 4-byte scalar per client up and
 * down: 23,480 bytes (22.9 KiB) per client in all for its 587 rounds (HiSo, Table 3).
 */
import { parseArgs } from 'node:util';
import { type Done, Fleet } from '../test/nats/fleet.ts';
import { TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { follow } from '../worker/journal/follow.ts';
import { emptyLedger, payloadBytes } from '../worker/journal/index.ts';
import { NatsLog } from '../worker/log/nats.ts';
import { Link } from '../worker/nats/link.ts';
import { checkStream } from '../worker/nats/stream.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '2000' } } });
const rounds = Number(values.rounds);
const DECOMFL = { rounds: 587, probes: 5, bytes: 587 * 5 * 4 * 2 };

for (const [title, workers, probes, codec] of [
  ['4 workers, 5 probes each', 4, 5, 'log8'],
  ['5 workers, 5 probes a round in all', 5, 1, 'log8'],
  ['5 workers, 5 probes a round in all, their signs alone', 5, 1, 'sign1'],
  ['1 worker, 5 probes a round, their signs alone', 1, 5, 'sign1'],
] as const) {
  const system = await NatsSystem.start();
  const job = await TestJob.make(system, 1 << 28);
  const fleet = await Fleet.make(job, {
    rounds,
    probes,
    expected: workers,
    digestEvery: 100,
    witnessEvery: 0,
    choices: { codec },
  });
  const ends = await Promise.all(fleet.startAll(workers).map(({ ended }) => ended));
  const done = ends.filter((end): end is Done => end?.type === 'done');
  if (done.length < workers) throw new Error(JSON.stringify(ends));
  const ledger = await fleet.verdict();
  const { state } = await checkStream(await job.connect(), job.names);
  const mean = (of: (end: Done) => number) => done.reduce((sum, end) => sum + of(end), 0) / workers;
  const up = (await sent(job)) / workers;
  const down = ledger.totals.payloadBytes;
  const line = (what: string, sent: number, received: number) =>
    console.log(
      `  ${what.padEnd(28)}${kb(sent)} sent ${kb(received)} received  (${(sent / rounds).toFixed(1)} and ${(received / rounds).toFixed(1)} B a round)`,
    );
  console.log(`${title}, ${rounds} rounds; per worker:`);
  line('payload (bytes of probes)', up, down);
  line(
    'on the socket',
    mean(({ socket }) => socket.sent),
    mean(({ socket }) => socket.received),
  );
  console.log(
    `  ${'log'.padEnd(28)}${kb(state.bytes)} stored (${(state.bytes / state.messages).toFixed(0)} B an entry)`,
  );
  const reader = await job.connect();
  const read = new NatsLog(reader, job.names);
  const before = Link.of(reader).bytes.received;
  const began = performance.now();
  let entries = 0;
  let data = 0;
  for await (const entry of read.read(1)) {
    entries++;
    data += entry.data.length;
  }
  const took = performance.now() - began;
  const received = Link.of(reader).bytes.received - before;
  console.log(
    `  ${'a newcomer reads all of it'.padEnd(28)}${took.toFixed(0)} ms, ${kb(received)} for ${entries} entries of ${kb(data)}`,
  );
  const share = DECOMFL.rounds / rounds;
  const theirs = DECOMFL.bytes / 2;
  console.log(
    `  for ${DECOMFL.rounds} rounds: payload ${kb(up * share)} up, ${kb(down * share)} down; DeComFL ${kb(theirs)} each way: ` +
      `${((up * share) / theirs).toFixed(2)} and ${((down * share) / theirs).toFixed(2)} of it, ${(((up + down) * share) / DECOMFL.bytes).toFixed(2)} together`,
  );
  console.log(
    `  all ${rounds} rounds against all of those ${DECOMFL.rounds}: ${((up + down) / DECOMFL.bytes).toFixed(2)} of ${kb(DECOMFL.bytes)}`,
  );
  await job.close();
  await system.end();
}

/** Payload of all proposals that came into the records. */
async function sent(job: TestJob): Promise<number> {
  let [total, ledger] = [0, emptyLedger()];
  for await (const entry of (await job.log()).read(1)) {
    const followed = follow(ledger, entry);
    if ('ignored' in followed) continue;
    ({ ledger } = followed);
    const { record } = followed;
    if (record.kind === 'round') for (const bytes of record.bytes) total += payloadBytes([bytes]);
  }
  return total;
}

function kb(bytes: number): string {
  return `${(bytes / 1000).toFixed(2)} KB`;
}
