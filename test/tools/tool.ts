import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fetchInto, publish, ToolMissing } from './fetch.ts';
import { withLock } from './lock.ts';
import { recipeOf, type ToolName } from './recipes.ts';

export { ToolMissing } from './fetch.ts';
export type { ToolName } from './recipes.ts';

/** Where fetched programs are kept: `$ONEBYTE_CACHE/tools` or `~/.cache/onebyte/tools`. */
export function toolCache(): string {
  return join(process.env.ONEBYTE_CACHE || join(homedir(), '.cache', 'onebyte'), 'tools');
}

/**
 * Path of a program, fetched or built on first use and cached by name and version. Safe to call from several
 * processes at once. Throws ToolMissing, whose message is a reason to skip a test, where this machine cannot get it.
 */
export async function tool(name: ToolName, cache = toolCache()): Promise<string> {
  const { folder, recipe, program } = recipeOf(name);
  const place = join(cache, folder);
  const path = join(place, program);
  if (existsSync(path)) return path;
  await mkdir(cache, { recursive: true });
  await withLock(`${place}.lock`, async () => {
    if (existsSync(path)) return;
    const scratch = await mkdtemp(`${place}.`);
    try {
      await fetchInto(recipe, scratch);
      await publish(scratch, place);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });
  if (!existsSync(path)) throw new Error(`${folder} was fetched, but has no ${program}`);
  return path;
}

/**
 * For `test(..., { skip: await missing('nats-server') })`: false where every program can be had, else why not.
 * Fetches them, so that the test itself does not wait.
 */
export async function missing(...names: ToolName[]): Promise<false | string> {
  for (const name of names) {
    try {
      await tool(name);
    } catch (error) {
      if (!(error instanceof ToolMissing)) throw error;
      return `${name}: ${error.message}`;
    }
  }
  return false;
}
