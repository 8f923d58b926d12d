/** Commands whose reader goes before they end, as `| head` does. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { MAIN, Sandbox } from './sandbox.ts';

const LONG = 120_000;

/** Runs a command whose stdout is a pipe that nobody reads; `both` gives it the same for stderr. */
function unread(
  sandbox: Sandbox,
  args: readonly string[],
  both = false,
): { code: number | null; stderr: string } {
  // The reader is gone long before the command has been loaded. A shell makes pipes, where spawn makes sockets.
  const script = `"$@" ${both ? '2>&1' : ''} | true; exit \${PIPESTATUS[0]}`;
  const { status, stderr } = spawnSync('bash', ['-c', script, 'bash', process.execPath, MAIN, ...args], {
    cwd: sandbox.dir,
    env: { ...process.env, ONEBYTE_CACHE: sandbox.path('cache'), NO_COLOR: '1' },
    encoding: 'utf8',
    timeout: LONG,
  });
  return { code: status, stderr };
}

test('a command that nobody reads ends with the exit code that it would have had', async (t) => {
  const sandbox = await Sandbox.create(t);
  const right = await sandbox.job();
  const wrong = await sandbox.job({ seed: -1 }, {}, 'wrong.yaml');
  assert.deepEqual(unread(sandbox, ['validate', right]), { code: 0, stderr: '' });
  assert.deepEqual(unread(sandbox, ['validate', wrong]), { code: 2, stderr: '' });
  assert.equal(unread(sandbox, ['validate', 'nowhere.yaml'], true).code, 2);
});

test('a run that nobody reads goes on to its end', { timeout: LONG }, async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  assert.equal(unread(sandbox, ['run', job, '--out', 'out'], true).code, 0);
  const { code, stdout, stderr } = await sandbox.onebyte('replay', 'out');
  assert.equal(code, 0, stdout + stderr);
});
