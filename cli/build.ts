/**
 * Makes `dist/` for the package and the image: all programs and what they import, but for ONNX Runtime, which has native
 * code, and for the client of Kubernetes, which is large and read by those alone who have a kubeconfig. Every thread loads
 * its modules anew, and few files take it less time (docs/decisions/built-program.md).
 *
 *     node cli/build.ts [FOLDER]
 */
import { chmodSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { PROGRAMS } from '../worker/programs.ts';

const ROOT = resolve(import.meta.dirname, '..');

/**
 * @param folder where it goes; what it held is removed
 * @param more programs beside those of the product, from the root of the checkout
 */
export async function buildInto(folder: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  const programs = Object.entries({ ...PROGRAMS, ...more });
  rmSync(folder, { recursive: true, force: true });
  await build({
    entryPoints: programs.map(([out, source]) => ({ out, in: join(ROOT, source) })),
    outdir: folder,
    // Paths between them hold: all lie in one folder.
    chunkNames: 'shared-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // The last one is for benches that are built too, and build others in turn.
    external: ['onnxruntime-node', '@kubernetes/client-node', 'esbuild'],
    // Some packages are CommonJS and ask for parts of Node by `require`.
    banner: {
      js: "import { createRequire as createRequireOf } from 'node:module';const require = createRequireOf(import.meta.url);",
    },
    logLevel: 'warning',
  });
  chmodSync(join(folder, 'main.js'), 0o755);
}

if (import.meta.main) await buildInto(process.argv[2] ?? join(ROOT, 'dist'));
