/** The program as `npm run build` makes it, beside the sources. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { buildInto } from '../../cli/build.ts';
import { PROGRAMS } from '../../worker/programs.ts';
import { type Ended, resultOf, Sandbox } from './sandbox.ts';

const PACKAGES = resolve(import.meta.dirname, '..', '..', 'node_modules');

test('what is built runs a job whose journal the sources replay to the same digest, and the other way round', async (t) => {
  const sandbox = await Sandbox.create(t);
  const dist = sandbox.path('built', 'dist');
  await buildInto(dist);
  symlinkSync(PACKAGES, sandbox.path('built', 'node_modules'));
  for (const name of Object.keys(PROGRAMS)) assert.ok(existsSync(join(dist, `${name}.js`)), name);
  const built = (...args: string[]) =>
    new Promise<Ended>((done) => {
      const env = { ...process.env, ONEBYTE_CACHE: sandbox.path('cache'), NO_COLOR: '1' };
      const child = execFile(
        process.execPath,
        [join(dist, 'main.js'), ...args],
        { cwd: sandbox.dir, env },
        (_, stdout, stderr) => done({ code: child.exitCode, signal: child.signalCode, stdout, stderr }),
      );
    });

  // A basis takes the thread that prepares a run.
  const subspace = {
    type: 'subspace',
    rank: 2,
    basis: { calibration: { uri: 'calibration.jsonl' }, rows: 16 },
  };
  const plan = [
    { scope: subspace, rounds: 4 },
    { scope: { type: 'full' }, rounds: 4 },
  ];
  const job = await sandbox.job({}, { plan });
  const result = resultOf(await built('run', job, '--json', '--out', sandbox.path('of-built')));
  const of = ({ code, stdout, stderr }: Ended) => {
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { digest: string }).digest;
  };
  assert.equal(of(await sandbox.onebyte('replay', result.journal, '--json')), result.digest);
  const other = await sandbox.run(job, '--out', sandbox.path('of-sources'));
  assert.equal(of(await built('replay', other.journal, '--json')), other.digest);

  const version = await built('--version');
  assert.equal(version.stdout, (await sandbox.onebyte('--version')).stdout);
  const worker = await built('worker');
  assert.equal(worker.code, 2, worker.stderr);
  assert.match(worker.stderr, /ONEBYTE_JOB/);
});
