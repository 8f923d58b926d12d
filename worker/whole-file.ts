import { open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { unwritable } from './system-error.ts';

/**
 * Writes a file that is there whole or is what it was before, also after a power loss: under another name first. On
 * return it is on the disk. Others may write the same one at once, also on machines that share the disk.
 * @param by whoever writes; in pods all processes have the same number, so by default it is told from others by chance
 * @throws OnebyteError FILE_UNWRITABLE, DISK_FULL, and then nothing is left of it
 */
export async function writeWhole(
  path: string,
  content: string | Uint8Array,
  by: string = crypto.randomUUID(),
): Promise<void> {
  const folder = dirname(path);
  const part = join(folder, `.${basename(path)}.${by}.part`);
  try {
    await writeFile(part, content, { flush: true });
    await rename(part, path);
    await syncFolder(folder);
  } catch (cause) {
    await rm(part, { force: true }).catch(() => undefined);
    throw unwritable(path, cause);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    // Some network file systems know no such thing: what they were given they have.
    if (!['EINVAL', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await folder.close();
  }
}
