/** Files on their way into the cache. What processes that are gone left there is taken over, or removed in the end. */
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';

/** A partial download that nobody has written to for this long, in milliseconds, may be taken over. */
const ABANDONED = 120_000;
const FILLING = '.filling-';
/** What nobody has touched for this long, in milliseconds, is left of a process that was killed, or of a model given up. */
const DEAD = 7 * 24 * 3_600_000;

/** An empty folder beside the cache's models, to be filled and moved to its place. */
export async function stagingFolder(cache: string): Promise<string> {
  const models = join(cache, 'models');
  await mkdir(models, { recursive: true });
  for (const name of (await readdir(models)).filter((name) => name.startsWith(FILLING))) {
    const { mtimeMs = Date.now() } = (await stat(join(models, name)).catch(() => undefined)) ?? {};
    if (Date.now() - mtimeMs > DEAD) await rm(join(models, name), { recursive: true, force: true });
  }
  return mkdtemp(join(models, FILLING));
}

/** Lets whoever comes next take a part over at once. */
export function release(part: string): Promise<void> {
  return utimes(part, 0, 0);
}

/**
 * A file of our own for a partial download: one that somebody left lying about, taken over by renaming it, or a new
 * one. Should its writer be alive after all, the digest will tell.
 */
export async function claimPart(key: string, cache: string): Promise<string> {
  const folder = join(cache, 'partial');
  await mkdir(folder, { recursive: true });
  const own = join(folder, `${key}.${process.pid}.${crypto.randomUUID()}`);
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const { mtimeMs = Date.now(), ctimeMs = Date.now() } = (await stat(path).catch(() => undefined)) ?? {};
    if (!name.startsWith(`${key}.`)) {
      // Nobody came back for it. By the time of its last change of any kind: `release` makes the other one old.
      if (Date.now() - ctimeMs > DEAD) await rm(path, { force: true });
      continue;
    }
    if (Date.now() - mtimeMs < ABANDONED) continue;
    const taken = await rename(path, own).then(
      () => true,
      () => false,
    );
    if (taken) return own;
  }
  return own;
}
