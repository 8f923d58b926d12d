/**
 * A run over bad lines: each worker in a network namespace that reaches the NATS server over its own link with little
 * rate, much delay and loss, at the level of packets. Prints rounds a second and the share of the time that workers wait.
 *
 *     node bench/wan.ts [--workers 4] [--rounds 100] [--rate 64000] [--rtt 300] [--loss 0.01] [--probe 200] [--probes 5]
 */
import { parseArgs } from 'node:util';
import { type Done, Fleet } from '../test/nats/fleet.ts';
import { TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { SlowLinks, slowLinksMissing } from './lib/slow-links.ts';

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '100' },
    /** Bits a second, each way. */
    rate: { type: 'string', default: '64000' },
    /** Milliseconds there and back. */
    rtt: { type: 'string', default: '300' },
    /** Share of the packets, each way. */
    loss: { type: 'string', default: '0.01' },
    /** Milliseconds that a worker's own part of a round takes. */
    probe: { type: 'string', default: '200' },
    probes: { type: 'string', default: '5' },
  },
});
const [workers, rounds, rate, rtt, loss, probeMs, probes] = [
  values.workers,
  values.rounds,
  values.rate,
  values.rtt,
  values.loss,
  values.probe,
  values.probes,
].map(Number) as [number, number, number, number, number, number, number];

const missing = slowLinksMissing();
if (missing !== null) {
  console.log(`skipped: ${missing}`);
  process.exit();
}
const links = await SlowLinks.make(workers, { rate, delay: rtt / 2, loss });
const system = await NatsSystem.start({ host: '0.0.0.0' });
const job = await TestJob.make(system, 1 << 28);
const fleet = await Fleet.make(job, { rounds, probes, probeMs, expected: workers, digestEvery: 50 });
const began = performance.now();
try {
  const members = Array.from({ length: workers }, (_, i) =>
    fleet.start(`w${i}`, {
      nats: { servers: [`nats://${links.host(i)}:${new URL(system.url()).port}`] },
      inside: links.inside(i),
    }),
  );
  const ends = await Promise.all(members.map(({ ended }) => ended));
  const seconds = (performance.now() - began) / 1000;
  const ledger = await fleet.verdict();
  const done = ends.filter((end): end is Done => end?.type === 'done');
  if (done.length < workers || ledger.end?.round !== rounds)
    throw new Error(`the run did not end as it should: ${JSON.stringify(ends)}`);
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
  const times = done.flatMap((end) => end.times);
  const waits = done.flatMap((end) => end.waits);
  const bytes = (direction: 'sent' | 'received') =>
    sum(done.map(({ socket }) => socket[direction])) / workers / rounds;
  const contributed = ledger.totals.probes / (rounds * workers * probes);
  console.log(
    `${workers} workers, ${rounds} rounds, ${rate / 1000} kbit/s, ${rtt} ms there and back, ${100 * loss} % loss each way`,
  );
  console.log(`  the run ends with the digest that its replay gives, after ${seconds.toFixed(0)} s`);
  console.log(
    `  rounds a second          ${(1000 / (sum(times) / times.length)).toFixed(2)} (median round ${median(times).toFixed(0)} ms, own part ${probeMs} ms)`,
  );
  console.log(`  share of time waiting    ${((100 * sum(waits)) / sum(times)).toFixed(0)} %`);
  console.log(`  probes that made it      ${(100 * contributed).toFixed(1)} %`);
  console.log(
    `  socket bytes a round     ${bytes('sent').toFixed(0)} sent, ${bytes('received').toFixed(0)} received, per worker`,
  );
} finally {
  await fleet.stop();
  await job.close();
  await system.end();
  await links.end();
}
