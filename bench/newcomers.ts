/**
 * What workers that join a run as it trains take of the processor, and how long: `kubectl scale` without Kubernetes. Two
 * workers of the built program train MiniLM in a subspace over a real NATS server; then more of them start at once.
 *
 *     node bench/newcomers.ts [--workers 3] [--repeat 3] [--beside MAIN.js]
 *
 * With `--beside`, the program of another build takes turns with it, in pairs.
 * The model is in the cache, the newcomers begin from a snapshot, and all of them share this machine's cores.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { placeOf } from '../cli/status.ts';
import { RunWatch } from '../test/e2e/run-watch.ts';
import { FEW_ROWS, sentimentJob, stages } from '../test/e2e/sentiment.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { cacheFolder } from '../worker/data/cache.ts';
import { thinProcess } from '../worker/process-settings.ts';
import { compiledCopy } from './lib/compiled.ts';
import { processorOf } from './lib/watched-worker.ts';

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '3' },
    repeat: { type: 'string', default: '3' },
    beside: { type: 'string' },
  },
});
const EXAMPLE = resolve(import.meta.dirname, '..', 'examples', 'sentiment');
/** Rounds until the run is well into its second stage, whose snapshots newcomers begin from. */
const UNDER_WAY = 150;

interface Step {
  readonly seconds: number;
  readonly processor: number;
  readonly said: string;
}

class Newcomer {
  readonly steps: Step[] = [];
  readonly joined: Promise<void>;
  readonly child: ChildProcess;

  constructor(program: string, name: string, env: Readonly<Record<string, string>>) {
    const from = performance.now();
    const thin = thinProcess({ ...process.env, ...env, ONEBYTE_WORKER: name }, cacheFolder(), [], false);
    this.child = spawn(process.execPath, [...thin.execArgv, program, 'worker'], {
      env: thin.env as NodeJS.ProcessEnv,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.joined = new Promise((done, failed) => {
      this.child.once('exit', (code) => failed(new Error(`${name} ended with ${code}`)));
      createInterface({ input: this.child.stdout! }).on('line', (line) => {
        const { msg } = JSON.parse(line) as { msg: string };
        const seconds = (performance.now() - from) / 1000;
        this.steps.push({ seconds, processor: processorOf(this.child.pid!), said: msg });
        if (msg === 'joined') done();
      });
    });
  }
}

async function once(program: string, system: NatsSystem): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'onebyte-newcomers-'));
  const children: ChildProcess[] = [];
  try {
    symlinkSync(join(EXAMPLE, 'data'), join(folder, 'data'));
    const job = join(folder, 'job.yaml');
    const spec = {
      data: FEW_ROWS,
      method: stages(1_000_000),
      evaluation: { everyRounds: 0 },
      template: undefined,
    };
    writeFileSync(job, JSON.stringify(sentimentJob({ spec: { ...spec, output: undefined } })));
    const out = join(folder, 'run');
    const args = ['run', job, '--nats', system.url(), '--workers', '2', '--out', out, '--json'];
    children.push(spawn(process.execPath, [program, ...args], { stdio: 'ignore' }));
    let place = placeOf(out);
    for (; place === null; place = placeOf(out)) await sleep(50);
    const { uid } = place;
    const watch = await RunWatch.start(system.url(), undefined, uid);
    while (watch.round < UNDER_WAY) await sleep(50);

    const before = watch.round;
    const from = performance.now();
    const env = {
      ONEBYTE_JOB: job,
      ONEBYTE_JOB_UID: uid,
      ONEBYTE_FOLDER: folder,
      ONEBYTE_NATS_URL: system.url(),
      ONEBYTE_HOST: '127.0.0.1',
      ONEBYTE_PORT: '0',
      ONEBYTE_TERMINATION_LOG: join(folder, 'end'),
    };
    const names = Array.from({ length: Number(values.workers) }, (_, i) => `newcomer-${i}`);
    const all = names.map((name) => new Newcomer(program, name, env));
    children.push(...all.map(({ child }) => child));
    await Promise.all(all.map(({ joined }) => joined));
    const isIn = (name: string) =>
      watch.rounds.some((round) => round.at > from && RunWatch.contributors(round).includes(name));
    while (!names.every(isIn)) await sleep(20);
    const seconds = (performance.now() - from) / 1000;
    const processor = all.map(({ steps }) =>
      steps.find(({ said }) => said === 'joined')!.processor.toFixed(2),
    );
    console.log(
      `${seconds.toFixed(1)} s to the last one's first byte, ${watch.round - before} rounds meanwhile; processor seconds until each had joined: ${processor.join(', ')}`,
    );
    for (const { seconds, processor, said } of all[0]!.steps)
      if (said.length < 80)
        console.log(`  ${seconds.toFixed(2)} s, processor ${processor.toFixed(2)} s: ${said}`);
    await watch.close();
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await sleep(500);
    rmSync(folder, { recursive: true, force: true });
  }
}

const built = await compiledCopy();
const system = await NatsSystem.start();
try {
  console.log(`${values.workers} workers join two on the same machine`);
  for (let time = 0; time < Number(values.repeat); time++) {
    await once(join(built, 'dist', 'main.js'), system);
    if (values.beside === undefined) continue;
    console.log(`the same of ${values.beside}:`);
    await once(resolve(values.beside), system);
  }
} finally {
  await system.end();
  rmSync(built, { recursive: true });
}
