/**
 * The sentiment example over bad lines: four `onebyte worker`s, each in a network namespace that reaches the NATS server
 * over a link of its own with little rate, much delay and loss, at the level of packets. Model and data come from this
 * machine's cache and folder, not over the lines.
 *
 *     node bench/wan-example.ts [--rate 64000] [--rtt 300] [--loss 0.01] [--head-rounds 600] [--rounds 30]
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { resolveModel } from '../worker/data/cache.ts';
import { emptyLedger } from '../worker/journal/index.ts';
import { observe } from '../worker/round/observer.ts';
import { SlowLinks, slowLinksMissing } from './lib/slow-links.ts';

const { values } = parseArgs({
  options: {
    /** Bits a second, each way. */
    rate: { type: 'string', default: '64000' },
    /** Milliseconds there and back. */
    rtt: { type: 'string', default: '300' },
    /** Share of the packets, each way. */
    loss: { type: 'string', default: '0.01' },
    'head-rounds': { type: 'string', default: '600' },
    rounds: { type: 'string', default: '30' },
  },
});
const [rate, rtt, loss] = [values.rate, values.rtt, values.loss].map(Number) as [number, number, number];
const GROUPS = ['movies', 'products', 'news', 'tweets'];
const PORT = 9090;
const SCRAPE_MS = 4000;

const missing = slowLinksMissing();
if (missing !== null) {
  console.log(`skipped: ${missing}`);
  process.exit();
}
const root = join(import.meta.dirname, '..');
const example = join(root, 'examples', 'sentiment');
const folder = mkdtempSync(join(tmpdir(), 'onebyte-wan-'));
const job = parse(readFileSync(join(example, 'job.yaml'), 'utf8'));
const { plan } = job.spec.method;
[plan[0].rounds, plan[1].rounds] = [values['head-rounds'], values.rounds].map(Number);
writeFileSync(join(folder, 'job.yaml'), stringify(job));

// The namespaces reach nothing but the server.
await resolveModel(job.spec.model, { folder: example });
const links = await SlowLinks.make(GROUPS.length, { rate, delay: rtt / 2, loss });
const system = await NatsSystem.start({ host: '0.0.0.0' });
const run = await TestJob.make(system, 1 << 26);
const workers = GROUPS.map(start);
/** The last page of metrics of each worker. */
const pages: string[] = GROUPS.map(() => '');
const scraping = setInterval(() => {
  for (const i of GROUPS.keys()) scrape(i);
}, SCRAPE_MS);
const end = new AbortController();
/** Milliseconds at which each round was over. */
const rounds: number[] = [];
let ledger = emptyLedger();
try {
  const failed = workers.map(async (worker) => {
    const [code] = await once(worker, 'exit');
    if (code !== 0) throw new Error(`a worker ended with ${code}`);
  });
  const over = Promise.all(failed);
  const followed = follow();
  await Promise.race([followed, over.then(() => followed)]);
  await over;
  report();
} finally {
  clearInterval(scraping);
  end.abort();
  for (const worker of workers) worker.kill('SIGKILL');
  await run.close();
  await system.end();
  await links.end();
  rmSync(folder, { recursive: true });
}

function start(group: string, i: number): ChildProcess {
  const [program, ...inside] = links.inside(i);
  const command = [...inside, process.execPath, join(root, 'cli', 'main.ts'), 'worker'];
  return spawn(program!, command, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      ONEBYTE_JOB: join(folder, 'job.yaml'),
      ONEBYTE_FOLDER: example,
      ONEBYTE_JOB_UID: run.names.uid,
      ONEBYTE_WORKER: `sentiment-${group}-0`,
      ONEBYTE_GROUP: group,
      ONEBYTE_MIN_WORKERS: `${GROUPS.length}`,
      // The first one prepares the run; where all do at once, they only take each other's time.
      ONEBYTE_HEAD_START_SECONDS: i === 0 ? '0' : '3600',
      ONEBYTE_PORT: `${PORT}`,
      ONEBYTE_THREADS: '1',
      ONEBYTE_TERMINATION_LOG: join(folder, `end-${group}`),
      ONEBYTE_NATS_URL: `nats://${links.host(i)}:${new URL(system.url()).port}`,
    },
  });
}

async function follow(): Promise<void> {
  for await (const observed of observe(await run.log(), end.signal)) {
    const moved = observed.ledger.round > ledger.round;
    ({ ledger } = observed);
    if (!moved) continue;
    rounds.push(performance.now());
    if (rounds.length % 50 === 0) console.error(`round ${ledger.round}`);
  }
}

/** Inside of the namespace, so that it takes nothing of the line. */
function scrape(i: number): void {
  const script = `import urllib.request as u; print(u.urlopen('http://127.0.0.1:${PORT}/metrics').read().decode())`;
  const [program, ...inside] = links.inside(i);
  const { status, stdout } = spawnSync(program!, [...inside, 'python3', '-c', script], { encoding: 'utf8' });
  if (status === 0) pages[i] = stdout;
}

function metric(page: string, name: string): number {
  const line = page.split('\n').find((line) => line.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? Number.NaN);
}

function report(): void {
  const sum = (name: string) => pages.reduce((total, page) => total + metric(page, name), 0);
  const mean = (name: string) => sum(name) / GROUPS.length;
  const phase = (name: string) => sum(`onebyte_round_phase_seconds_sum{phase="${name}"}`);
  const [head, all] = [plan[0].rounds, plan[0].rounds + plan[1].rounds];
  const pace = (from: number, to: number) =>
    ((1000 * (to - from)) / (rounds[to]! - rounds[from]!)).toFixed(2);
  const seconds = (rounds.at(-1)! - rounds[0]!) / 1000;
  const { test, validation } = ledger.evaluations;
  console.log(
    `examples/sentiment, 4 workers, ${rate / 1000} kbit/s, ${rtt} ms there and back, ${100 * loss} % loss each way`,
  );
  console.log(
    `  all four workers are at the digest of the end, ${ledger.end?.digest.slice(0, 16)}..., ${all} rounds in ${seconds.toFixed(0)} s`,
  );
  console.log(
    `  rounds a second          ${pace(0, head - 1)} of the head, ${pace(head, all - 1)} of the layers`,
  );
  console.log(
    `  share of time waiting    ${((100 * phase('wait')) / (GROUPS.length * seconds)).toFixed(0)} % (forward passes ${((100 * phase('forward')) / (GROUPS.length * seconds)).toFixed(0)} %)`,
  );
  const full = GROUPS.length * (plan[0].rounds * 32 + plan[1].rounds * 16);
  console.log(
    `  probes in the records    ${ledger.totals.probes} (${((100 * ledger.totals.probes) / full).toFixed(1)} % of the most)`,
  );
  console.log(
    `  accuracy                 ${test?.last.accuracy.toFixed(3)} on test, ${validation?.last.accuracy.toFixed(3)} on validation`,
  );
  const kb = (direction: string, kind: string) =>
    `${(mean(`onebyte_${kind}_bytes_total{direction="${direction}"}`) / 1000).toFixed(1)} KB ${direction}`;
  for (const kind of ['payload', 'socket'])
    console.log(`  ${kind.padEnd(25)}${kb('sent', kind)}, ${kb('received', kind)} per worker`);
}
