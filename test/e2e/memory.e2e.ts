/** A worker in a pod takes the memory of a worker of `onebyte run`: the same job, the same rounds, side by side. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { until } from '../operator/kube/setup.ts';
import { FaultRun, PLAN, RUN } from './fault-run.ts';
import { Lab, labMissing, mib } from './lab.ts';
import { processesWith } from './pods.ts';
import { FEW_ROWS, sentimentJob } from './sentiment.ts';

const skip = await labMissing();
const root = join(import.meta.dirname, '..', '..');
const ROUNDS = 400;

/** Resident memory of a process in bytes: its own, and of files that it has mapped, which it shares. */
async function residentOf(pid: number): Promise<Resident> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { all: field('VmRSS'), files: field('RssFile') + field('RssShmem') };
}

interface Resident {
  readonly all: number;
  readonly files: number;
}

const told = (all: readonly Resident[]) =>
  all.map((one) => `${mib(one.all)} (${mib(one.files)} of files)`).join(', ');

async function childrenOf(pid: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (child) => {
      const status = await readFile(`/proc/${child}/status`, 'utf8').catch(() => '');
      return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(status) ? Number(child) : null;
    }),
  );
  return found.filter((child) => child !== null);
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe('memory of a worker', { skip }, () => {
  let lab: Lab;
  let run: FaultRun;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onebyte-memory-'));
    lab = await Lab.start({ nodes: 1 }, (line) => console.log(line));
  });
  after(async () => {
    await run?.watch.close();
    await lab?.down();
    await rm(folder, { recursive: true, force: true });
  });

  test('in a pod is about what it is in onebyte run', async (t) => {
    run = await FaultRun.start(lab, 2);
    await lab.until('rounds', async () => run.watch.round >= ROUNDS, 600_000);
    const pods = await Promise.all((await processesWith({ ONEBYTE_JOB_UID: run.uid })).map(residentOf));
    await lab.kubectl('-n', 'team', 'patch', 'ftj', RUN, '--type=merge', '-p', '{"spec":{"suspend":true}}');

    const spec = { data: FEW_ROWS, method: PLAN, evaluation: { everyRounds: 0 } };
    const job = join(root, 'examples', 'sentiment', `.memory-${process.pid}.yaml`);
    const manifest = sentimentJob({ spec: { ...spec, checkpoint: { everyRounds: 25 } } }) as {
      spec: Record<string, unknown>;
    };
    delete manifest.spec.output;
    await writeFile(job, stringify(manifest));
    const out = join(folder, 'run');
    const args = [join(root, 'cli', 'main.ts'), 'run', job, '--workers', '2', '--out', out];
    const local = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let round = 0;
    local.stdout.setEncoding('utf8').on('data', (text: string) => {
      for (const [, digits] of text.matchAll(/round (\d+)/g)) round = Math.max(round, Number(digits));
    });
    try {
      await until('rounds', async () => round >= ROUNDS, 600_000);
      const workers = await Promise.all((await childrenOf(local.pid!)).map(residentOf));
      assert.equal(pods.length, 2);
      assert.equal(workers.length, 2);
      const ratio = mean(pods.map(({ all }) => all)) / mean(workers.map(({ all }) => all));
      assert.ok(ratio < 1.25, `a pod takes ${ratio} of it`);
      t.diagnostic(
        `resident memory: pods ${told(pods)}; workers of onebyte run ${told(workers)}; ratio ${ratio.toFixed(3)}`,
      );
    } finally {
      const ended = once(local, 'exit');
      local.kill('SIGKILL');
      await ended;
      await rm(job, { force: true });
    }
  });
});
