import { mkdir, rm, stat, utimes } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const staleAfterMs = 30_000;

/**
 * Runs `work` while no other process that uses the same lock does. The holder touches the lock; one not touched
 * for 30 s has lost its holder. Two processes may still meet after a very long pause, so what the work makes must
 * be put in place by one rename: the lock saves double work, the rename makes it safe.
 */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  while (!(await take(path))) await sleep(200);
  const beat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => undefined), 5_000);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    await rm(path, { recursive: true, force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const touched = await stat(path).then(
    (s) => s.mtimeMs,
    () => Date.now(),
  );
  if (Date.now() - touched > staleAfterMs) await rm(path, { recursive: true, force: true });
  return false;
}
