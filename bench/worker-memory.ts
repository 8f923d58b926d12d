/**
 * Memory of the workers that users have: those of `onebyte run`, compiled, over a 4-bit base (SmolLM2, Q4_1, or FILE).
 *
 *     node bench/worker-memory.ts [--job small|instruct] [--nats] [--rounds 20] [--limits 1.8,2.0,2.2] [--patience 240] [FILE.gguf]
 *
 * First as they are, one and two of them; then one in a group with a limit, in sizes of the model's file, as a pod with
 * such a limit has it, beside one in a group without: whether the job ends, what was resident, how often the kernel had to
 * read a page again, and what that costs. A run that takes longer than the patience, in seconds, is ended. Groups take
 * root; without it they are left out, by name.
 *
 * A page of a file that is in memory already is charged to the group of whoever read it first, and mapped by others
 * for nothing. So a worker in a group has copies of Node, of all packages, of the C library, of the program and of the
 * model, mounted where the originals are, that were dropped from memory before it starts (`lib/own-files.ts`): the limit holds
 * for code and weights as for all else, as in a container that is the first of its image on a node. `onebyte run` itself has the originals.
 *
 * `small` is two-sided `lora` probes of rank 8 on all layers' queries and values over 4 prompts of 32 tokens; `instruct` the
 * job of examples/instruct. With `--nats` a worker is the program of a pod (`onebyte worker`), over a real server.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { NatsSystem } from '../test/nats/server.ts';
import { resolveModel } from '../worker/data/cache.ts';
import { sha256File } from '../worker/data/download.ts';
import { loadPacked } from '../worker/model/gguf/packed-file.ts';
import { openGguf } from '../worker/model/gguf/source.ts';
import { compiledCopy } from './lib/compiled.ts';
import { type GroupUse, groupsMissing, MemoryGroup } from './lib/memory-group.ts';
import { OwnFiles } from './lib/own-files.ts';
import { SMOLLM2, smallJob } from './lib/small-job.ts';
import { type Watched, WatchedWorkers } from './lib/watched-worker.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    job: { type: 'string', default: 'small' },
    nats: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '20' },
    limits: { type: 'string', default: '1.8,2.0,2.2' },
    patience: { type: 'string', default: '240' },
  },
});
const root = join(import.meta.dirname, '..');
const MIB = 2 ** 20;
const LOOK_MS = 100;

interface Run {
  readonly ended: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly workers: readonly Watched[];
}

/** Where everything that the runs read lies. */
interface Place {
  readonly program: string;
  readonly folder: string;
  readonly job: string;
  readonly nats: string | undefined;
}

/** One run of the job. @param node what workers are started with in place of Node */
async function run({ program, folder, job, nats }: Place, workers: number, node?: string): Promise<Run> {
  const out = mkdtempSync(join(folder, 'run-'));
  // Of `child_process.fork`: what it starts is this process' program unless it is told otherwise.
  const instead = `process.execPath=${JSON.stringify(node)};process.execArgv.length=0`;
  const args = [
    ...(node === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(instead)}`]),
    ...[
      join(program, 'dist', 'main.js'),
      'run',
      job,
      '--workers',
      String(workers),
      '--out',
      join(out, 'run'),
    ],
    ...['--set', `method.plan[0].rounds=${values.rounds}`],
    ...(nats === undefined ? [] : ['--nats', nats]),
  ];
  const started = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const watched = new WatchedWorkers(child.pid!);
  let round = 0;
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    for (const [, digits] of text.matchAll(/round (\d+)/g)) round = Math.max(round, Number(digits));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const looks = setInterval(() => watched.look(round > 0), LOOK_MS);
  let late = false;
  const patience = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
    watched.kill();
  }, 1000 * Number(values.patience));
  const [code] = (await once(child, 'close')) as [number | null];
  clearInterval(looks);
  clearTimeout(patience);
  rmSync(out, { recursive: true });
  const why = late
    ? `not done after ${values.patience} s`
    : `failed: ${errors.trim().split('\n').slice(0, 2).join(' ')}`;
  const ended = code === 0 ? 'finished' : why;
  return { ended, rounds: round, seconds: (performance.now() - started) / 1000, workers: watched.all };
}

const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** One line for each process that there was. */
function tell(what: string, { ended, seconds, workers }: Run, fileBytes: number, use?: GroupUse): void {
  const of = (bytes: number) => `${mib(bytes)} (${(bytes / fileBytes).toFixed(2)})`;
  console.log(
    `\n${what}: ${ended}, ${seconds.toFixed(1)} s on the clock, ${workers.length} worker processes`,
  );
  for (const { peak, resident, pages, seconds } of workers) {
    const kinds =
      pages && `code ${mib(pages.code)}, weights ${mib(pages.weights)}, anonymous ${of(pages.anonymous)}`;
    console.log(
      `  peak ${of(peak)}, in the rounds ${of(middle(resident))}: ${kinds}; ${seconds.toFixed(1)} processor s`,
    );
  }
  if (use !== undefined)
    console.log(
      `  charged to the group at most ${of(use.peak)}; pages read from disk ${use.majorFaults}; ended for want of memory ${use.killed}`,
    );
}

/** The job and the model in a folder of their own, packed. */
async function placeIn(folder: string): Promise<{ job: string; model: string; fileBytes: number }> {
  const file = positionals[0] ?? (await resolveModel(SMOLLM2, { folder: root }));
  const model = join(folder, 'model', 'model.gguf');
  mkdirSync(join(folder, 'model'));
  copyFileSync(file, model);
  await loadPacked(await openGguf(model));
  const sha256 = await sha256File(model);
  const job = join(folder, 'job', 'job.yaml');
  if (values.job === 'small') {
    mkdirSync(join(folder, 'job'));
    writeFileSync(job, JSON.stringify(smallJob(model, sha256, Number(values.rounds), join(folder, 'job'))));
  } else {
    cpSync(join(root, 'examples', 'instruct'), join(folder, 'job'), { recursive: true });
  }
  return { job, model, fileBytes: statSync(model).size };
}

const folder = mkdtempSync(join(tmpdir(), 'onebyte-worker-memory-'));
const program = await compiledCopy();
const system = values.nats ? await NatsSystem.start() : undefined;
try {
  const { job, model, fileBytes } = await placeIn(folder);
  const place = { program, folder, job, nats: system?.url() };
  console.log(
    `${basename(model)} of ${mib(fileBytes)}; job ${values.job}, ${values.rounds} rounds${values.nats ? ', over NATS' : ''}`,
  );
  for (const workers of [1, 2]) tell(`workers ${workers}`, await run(place, workers), fileBytes);
  const missing = groupsMissing();
  if (missing !== undefined) console.log(`\nskipped: workers with a limit: ${missing}`);
  else {
    const files = new OwnFiles([program, join(folder, 'model')]);
    try {
      for (const limit of [null, ...values.limits.split(',').filter(Boolean).map(Number)]) {
        const group = MemoryGroup.make(`onebyte-bench-${process.pid}`, limit && limit * fileBytes);
        const what =
          limit === null
            ? 'in a group without a limit'
            : `with a limit of ${limit} x the file (${mib(limit * fileBytes)})`;
        tell(what, await run(place, 1, files.launcher(group.members)), fileBytes, group.use());
        await group.remove();
      }
    } finally {
      files.remove();
    }
  }
} finally {
  await system?.end();
  rmSync(folder, { recursive: true });
  rmSync(program, { recursive: true });
}
