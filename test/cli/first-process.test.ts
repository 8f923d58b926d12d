/** The command line as the first process of a namespace, which a container's is. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MAIN, Running, Sandbox } from './sandbox.ts';

/** Says when the command is about to be loaded, and does nothing more until it is told to. */
const SAYS = `data:text/javascript,${encodeURIComponent(`
  import { readSync, writeSync } from 'node:fs';
  import { registerHooks } from 'node:module';
  registerHooks({
    load(url, context, next) {
      if (url.includes('/worker-command.')) {
        writeSync(1, 'loading\\n');
        for (let told = false; !told; )
          try {
            told = readSync(0, Buffer.alloc(1)) === 1;
          } catch (error) {
            if (error.code !== 'EINTR') throw error;
          }
      }
      return next(url, context);
    },
  });
`)}`;

function maySplit(): boolean {
  try {
    execFileSync('unshare', ['--pid', '--fork', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The only one. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
}

const skip = maySplit() ? false : 'this user may not make a namespace of processes (unshare --pid)';

test('a worker that is told to end before its command is loaded ends', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-first-'));
  t.after(() => rm(folder, { recursive: true }));
  const data = join(folder, 'data.json');
  await writeFile(data, JSON.stringify({ train: [{ name: 'rows', uri: 'rows.jsonl' }] }));
  const args = ['--pid', '--fork', '--kill-child', process.execPath, '--import', SAYS, MAIN, 'worker'];
  const child = spawn('unshare', args, {
    stdio: 'pipe',
    // Nobody is there: it would wait for ever.
    env: {
      ...process.env,
      ONEBYTE_NATS_URL: 'nats://127.0.0.1:9',
      ONEBYTE_JOB_UID: '5acc0fa4-ea0c-4ac8-bcf9-baa824313bb1',
      ONEBYTE_DATA: data,
      ONEBYTE_PORT: '0',
    },
  });
  t.after(() => child.kill('SIGKILL'));
  const running = new Running(child);
  await running.says(/loading/);
  process.kill(childOf(child.pid!), 'SIGTERM');
  child.stdin.end('\n');
  const { code } = await running.ended;
  // Either before its command listens itself, or by that.
  assert.ok(code === 0 || code === 128 + 15, `${code}: ${running.said}`);
});

/** Starts a run as a first process, with a terminal or without, and waits until it asks for its model, which never comes. */
async function preparing(t: TestContext, terminal: boolean): Promise<{ running: Running; first: number }> {
  const sandbox = await Sandbox.create(t);
  const server = createServer(() => {}).listen(0, '127.0.0.1');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  const uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`;
  const job = await sandbox.job({ model: { uri, sha256: '0'.repeat(64) } });
  const run = ['unshare', '--pid', '--fork', '--kill-child', process.execPath, MAIN, 'run', job];
  const [program, ...args] = terminal
    ? ['script', '--quiet', '--return', '--command', `exec ${run.join(' ')}`, '/dev/null']
    : run;
  const child = spawn(program!, args, {
    cwd: sandbox.dir,
    env: { ...process.env, ONEBYTE_CACHE: sandbox.path('cache'), TERM: 'xterm', NO_COLOR: '1' },
    stdio: 'pipe',
  });
  t.after(() => child.kill('SIGKILL'));
  const running = new Running(child);
  await once(server, 'request');
  const above = terminal ? childOf(child.pid!) : child.pid!;
  return { running, first: childOf(above) };
}

for (const terminal of [false, true])
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    test(`a run ${terminal ? 'on a terminal' : 'without a terminal'} ends by ${signal} while it prepares`, {
      skip,
      timeout: 60_000,
    }, async (t) => {
      const { running, first } = await preparing(t, terminal);
      process.kill(first, signal);
      const ended = await running.ended;
      assert.equal(ended.code, code, running.said);
      // The cursor was taken, and is given back.
      if (terminal) assert.ok(ended.stdout.lastIndexOf('\x1b[?25h') > ended.stdout.lastIndexOf('\x1b[?25l'));
    });
