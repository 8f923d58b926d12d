import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { OnebyteError } from '../worker/errors.ts';
import { writeWhole } from '../worker/whole-file.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'onebyte-whole-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('a file is written whole, over one that is there too, and nothing is left beside it', async (t) => {
  const dir = await folder(t);
  await writeWhole(join(dir, 'a.json'), 'one');
  await writeWhole(join(dir, 'a.json'), Uint8Array.of(116, 119, 111));
  assert.equal(await readFile(join(dir, 'a.json'), 'utf8'), 'two');
  assert.deepEqual(await readdir(dir), ['a.json']);
});

test('a file that cannot be written stays what it was, and the error says where and why', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'a.json');
  await writeFile(path, 'one');
  const refused = async (at: string, code: string) =>
    assert.rejects(
      writeWhole(at, 'two', 'me'),
      (error) => error instanceof OnebyteError && error.code === code,
    );
  await refused(join(dir, 'none', 'a.json'), 'FILE_UNWRITABLE');
  await mkdir(join(dir, 'taken'));
  await refused(join(dir, 'taken'), 'FILE_UNWRITABLE');
  if (process.platform === 'linux') {
    await symlink('/dev/full', join(dir, '.a.json.me.part'));
    await refused(path, 'DISK_FULL');
  }
  assert.equal(await readFile(path, 'utf8'), 'one');
  assert.deepEqual((await readdir(dir)).sort(), ['a.json', 'taken']);
});
