/** What a node's container runtime holds once images are unpacked, kept so that the next node need not unpack them. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { imageCache } from './image.ts';

/** Kept: of images as they are now, by both of their names, and as they were before for a run that is at them. */
const KEPT = 4;

/**
 * Where that is kept for these archives; whoever unpacks them first puts it there, whole or not at all.
 * @returns a path below the cache, of a folder that may not be there yet
 */
export async function imageSeed(archives: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const archive of archives) {
    const { size, mtimeMs } = await stat(archive);
    hash.update(`${archive}\0${size}\0${mtimeMs}\0`);
  }
  const folder = join(imageCache(), 'unpacked');
  await mkdir(folder, { recursive: true });
  const seed = join(folder, hash.digest('hex').slice(0, 16));
  const now = new Date();
  await utimes(seed, now, now).catch(() => undefined);
  await forgetOld(folder);
  return seed;
}

async function forgetOld(folder: string): Promise<void> {
  const seeds = await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const { mtimeMs } = await stat(join(folder, name)).catch(() => ({ mtimeMs: 0 }));
      return { name, mtimeMs };
    }),
  );
  seeds.sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { name } of seeds.slice(KEPT)) await rm(join(folder, name), { recursive: true, force: true });
}
