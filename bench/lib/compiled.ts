/** The program as users have it: what `npm run build` makes. */
import { mkdtempSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildInto } from '../../cli/build.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');

/**
 * Builds the product into a new folder of the temporary one.
 * @param more programs beside those of the product, by their names there
 * @returns the folder, with all programs in `dist`; who asks removes it
 */
export async function compiledCopy(more: Readonly<Record<string, string>> = {}): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'onebyte-compiled-'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await buildInto(join(folder, 'dist'), more);
  return folder;
}
