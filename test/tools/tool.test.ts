import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { fetchInto, ToolMissing } from './fetch.ts';
import { withLock } from './lock.ts';
import { recipes } from './recipes.ts';
import { missing, tool } from './tool.ts';
import { unzip } from './unzip.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, 'main.ts');
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'onebyte-tools-'));
});
after(() => rm(folder, { recursive: true, force: true }));

describe('tool', async () => {
  const skip = await missing('nats-server', 'helm', 'kubectl');

  test('fetched programs run and say their pinned version', { skip }, async () => {
    assert.match((await run(await tool('nats-server'), ['--version'])).stdout, /v2\.15\.1/);
    assert.match((await run(await tool('helm'), ['version', '--short'])).stdout, /v4\.1\.4/);
    assert.match((await run(await tool('kubectl'), ['version', '--client'])).stdout, /v1\.35\.2/);
  });

  test('two processes that want the same program at once both get it and leave one folder', {
    skip,
  }, async () => {
    const ONEBYTE_CACHE = join(folder, 'shared');
    const env = { ...process.env, ONEBYTE_CACHE };
    const both = await Promise.all([1, 2].map(() => run(process.execPath, [main, 'nats-server'], { env })));
    for (const { stdout } of both) assert.match(stdout, /nats-server-2\.15\.1/);
    assert.deepEqual(await readdir(join(ONEBYTE_CACHE, 'tools')), ['nats-server-2.15.1']);
  });

  test('an archive with another digest is refused', { skip }, async () => {
    const into = await mkdtemp(join(folder, 'wrong-'));
    const recipe = { ...recipes['nats-server'], sha256: { x64: 'ab'.repeat(32), arm64: 'ab'.repeat(32) } };
    await assert.rejects(fetchInto(recipe, into), /has SHA-256 .* expected abab/);
  });

  test('a machine without a pinned archive is told so', async () => {
    const recipe = { ...recipes['nats-server'], sha256: {} };
    await assert.rejects(fetchInto(recipe, folder), (error: unknown) => {
      return error instanceof ToolMissing && /not pinned for/.test(error.message);
    });
  });
});

describe('withLock', () => {
  test('holders never overlap', async () => {
    const path = join(folder, 'overlap.lock');
    let inside = 0;
    const turns = Array.from({ length: 4 }, () =>
      withLock(path, async () => {
        assert.equal(++inside, 1);
        await new Promise((resolve) => setTimeout(resolve, 5));
        inside--;
      }),
    );
    await Promise.all(turns);
  });

  test('a lock whose holder was killed is taken over', async () => {
    const path = join(folder, 'stale.lock');
    const code = `import {withLock} from ${JSON.stringify(join(import.meta.dirname, 'lock.ts'))};
      await withLock(${JSON.stringify(path)}, () => { console.log('in'); return new Promise(() => setInterval(() => {}, 1000)); });`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', code]);
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    holder.kill('SIGKILL');
    await new Promise((resolve) => holder.once('close', resolve));
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(path, longAgo, longAgo);
    assert.equal(await withLock(path, async () => 7), 7);
  });
});

describe('unzip', () => {
  test('a file cut short is refused', async () => {
    const path = join(folder, 'cut.zip');
    await writeFile(path, Buffer.alloc(100));
    await assert.rejects(unzip(path, folder), /no end record/);
  });
});
