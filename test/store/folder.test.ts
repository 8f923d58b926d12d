import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readArtifact, writeArtifact } from '../../worker/engine/artifact.ts';
import { FolderStore } from '../../worker/store/folder.ts';
import { sha256 } from '../../worker/store/store.ts';
import { writeWhole } from '../../worker/whole-file.ts';

/** Of one process: in pods every process has the same number. */
const WRITERS = 24;

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-folder-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

const bytesOf = (seed: number) => Uint8Array.from({ length: 100_000 }, (_, i) => (i * 31 + seed) & 255);
const together = (write: (i: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: WRITERS }, (_, i) => write(i)));

test('many may put the same artifact into one folder at once', async (t) => {
  const folder = await folderOf(t);
  const bytes = bytesOf(1);
  await together(() => writeArtifact(bytes, folder));
  const digest = sha256(bytes);
  assert.deepEqual(await readdir(folder), [digest]);
  const reference = { name: 'basis', digest, bytes: bytes.length };
  assert.deepEqual(new Uint8Array(await readArtifact(reference, [folder])), bytes);
});

test('many may put snapshots, artifacts and packs into one shared store at once', async (t) => {
  const folder = await folderOf(t);
  const [snapshot, other] = [bytesOf(2), bytesOf(3)];
  const index = { digest: sha256(snapshot), bytes: snapshot.length, seq: 5, round: 3 };
  await together(async (i) => {
    const store = new FolderStore(folder, 'run');
    await store.putSnapshot(index, snapshot);
    await store.putArtifact(sha256(other), other);
    await store.putPack({ level: 0, from: 1, end: 2 }, bytesOf(i));
  });
  const store = new FolderStore(folder, 'run');
  assert.deepEqual(await store.snapshots(), [index]);
  assert.deepEqual(await store.getSnapshot(index), snapshot);
  assert.deepEqual(await store.getArtifact(sha256(other)), other);
  const pack = await store.getPack(0);
  assert.ok(Array.from({ length: WRITERS }, (_, i) => sha256(bytesOf(i))).includes(sha256(pack!)));
  const names = await readdir(folder, { recursive: true });
  assert.deepEqual(
    names.filter((name) => name.endsWith('.part')),
    [],
  );
});

test('a file that cannot be put in its place leaves nothing behind', async (t) => {
  const folder = await folderOf(t);
  // A folder is in the way.
  await writeWhole(join(folder, 'file'), bytesOf(4));
  const taken = join(folder, 'taken');
  await new FolderStore(folder, 'taken').putPack({ level: 0, from: 1, end: 2 }, bytesOf(5));
  await assert.rejects(writeWhole(taken, bytesOf(6)));
  assert.deepEqual((await readdir(folder)).sort(), ['file', 'taken']);
});
