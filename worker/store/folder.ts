import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../journal/record.ts';
import { writeWhole } from '../whole-file.ts';
import {
  matching,
  newestFirst,
  type PackIndex,
  parseIndex,
  parsePackIndex,
  type SnapshotIndex,
  type Store,
} from './store.ts';

/** Snapshots that are kept: somebody may be reading the one before. */
const KEPT = 2;

/** A folder that all workers of a run share, such as a volume. */
export class FolderStore implements Store {
  readonly #folder: string;

  /** @param folder of all runs */
  constructor(folder: string, uid: string) {
    this.#folder = join(folder, uid);
  }

  async putSnapshot(index: SnapshotIndex, bytes: Uint8Array): Promise<string | null> {
    const folder = join(this.#folder, 'snapshots');
    await put(folder, index.digest, bytes);
    await put(folder, `${index.seq}.json`, Buffer.from(JSON.stringify(index)));
    for (const { digest, seq } of (await this.snapshots()).slice(KEPT)) {
      await rm(join(folder, `${seq}.json`), { force: true });
      await rm(join(folder, digest), { force: true });
    }
    return `snapshots/${index.digest}`;
  }

  async snapshots(): Promise<SnapshotIndex[]> {
    const folder = join(this.#folder, 'snapshots');
    const names = await readdir(folder).catch(() => []);
    const texts = names.filter((name) => name.endsWith('.json')).map((name) => readText(join(folder, name)));
    return newestFirst((await Promise.all(texts)).map(parseIndex));
  }

  async getSnapshot({ digest }: SnapshotIndex): Promise<Uint8Array | null> {
    return matching(await readBytes(join(this.#folder, 'snapshots', digest)), digest);
  }

  async putArtifact(digest: Digest, bytes: Uint8Array): Promise<boolean> {
    await put(join(this.#folder, 'artifacts'), digest, bytes);
    return true;
  }

  async getArtifact(digest: Digest): Promise<Uint8Array | null> {
    return matching(await readBytes(join(this.#folder, 'artifacts', digest)), digest);
  }

  async putPack(index: PackIndex, bytes: Uint8Array): Promise<boolean> {
    const folder = join(this.#folder, 'packs');
    await put(folder, `${index.level}`, bytes);
    await put(folder, `${index.level}.json`, Buffer.from(JSON.stringify(index)));
    return true;
  }

  async packs(levels: number): Promise<PackIndex[]> {
    const read = async (_: unknown, level: number) =>
      parsePackIndex(level, await readText(join(this.#folder, 'packs', `${level}.json`)));
    return (await Promise.all(Array.from({ length: levels }, read))).filter((index) => index !== null);
  }

  getPack(level: number): Promise<Uint8Array | null> {
    return readBytes(join(this.#folder, 'packs', `${level}`));
  }
}

/** Whole or not at all. */
async function put(folder: string, name: string, bytes: Uint8Array): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeWhole(join(folder, name), bytes);
}

async function readBytes(path: string): Promise<Uint8Array | null> {
  return readFile(path).then(
    (bytes) => new Uint8Array(bytes),
    () => null,
  );
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
