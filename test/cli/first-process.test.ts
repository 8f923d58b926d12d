/** The command line as the first process of a namespace, which a container's is. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Running } from './sandbox.ts';

const MAIN = join(import.meta.dirname, '../../cli/main.ts');

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
  const first = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
  process.kill(Number(first), 'SIGTERM');
  child.stdin.end('\n');
  const { code } = await running.ended;
  // Either before its command listens itself, or by that.
  assert.ok(code === 0 || code === 128 + 15, `${code}: ${running.said}`);
});
