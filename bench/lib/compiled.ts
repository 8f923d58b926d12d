/** The program as users have it: compiled, as `npm run build` does. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..', '..');

/**
 * Compiles some sources, and what they import, into a new folder of the temporary one.
 * @param sources beside `worker`, from the root of the checkout
 * @returns the folder, whose paths are those of the checkout; who asks removes it
 */
export function compiledCopy(sources: readonly string[]): string {
  const outDir = mkdtempSync(join(tmpdir(), 'onebyte-compiled-'));
  copyFileSync(join(ROOT, 'package.json'), join(outDir, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(outDir, 'node_modules'));
  const project = join(outDir, 'tsconfig.json');
  const compilerOptions = { noEmit: false, outDir, rootDir: ROOT };
  const include = ['worker', ...sources].map((source) => join(ROOT, source));
  writeFileSync(project, JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include }));
  execFileSync(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', project], { stdio: 'inherit' });
  return outDir;
}
