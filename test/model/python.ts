import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from '../tools/lock.ts';
import { toolCache } from '../tools/tool.ts';

const exec = promisify(execFile);

/** Readers and writers that are not ours: Hugging Face's safetensors, the ONNX project's package, llama.cpp's GGUF. */
const PACKAGES = ['numpy==2.4.6', 'safetensors==0.8.0', 'onnx==1.23.2', 'gguf==0.19.0'];

/** The interpreter of a virtual environment in the tests' cache; made once, by pip. */
async function interpreter(packages: readonly string[] = PACKAGES): Promise<string> {
  const key = createHash('sha256').update(packages.join()).digest('hex').slice(0, 12);
  const place = join(toolCache(), `python-${key}`);
  const python = join(place, 'bin', 'python');
  const ready = join(place, 'ready');
  if (existsSync(ready)) return python;
  await mkdir(toolCache(), { recursive: true });
  await withLock(`${place}.lock`, async () => {
    if (existsSync(ready)) return;
    // A virtual environment knows its own path, so it is made in place and marked when it is whole.
    await rm(place, { recursive: true, force: true });
    await exec('python3', ['-m', 'venv', place]);
    await exec(python, ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', ...packages]);
    await mkdir(ready);
  });
  return python;
}

/** Runs a script that prints one JSON value. */
export async function python(script: string, ...args: string[]): Promise<unknown> {
  return pythonWith(PACKAGES, script, ...args);
}

/** The same, with other packages. What the script prints before its last line is left out. */
export async function pythonWith(
  packages: readonly string[],
  script: string,
  ...args: string[]
): Promise<unknown> {
  const { stdout } = await exec(await interpreter(packages), ['-c', script, ...args], { maxBuffer: 2 ** 26 });
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

/** false where Python and its packages can be had, else why not. */
export async function missingPython(packages: readonly string[] = PACKAGES): Promise<false | string> {
  try {
    await interpreter(packages);
    return false;
  } catch (error) {
    const said = (error as { stderr?: string }).stderr || String(error);
    return `Python with ${packages.join(', ')}: ${said.trim().split('\n').at(-1)}`;
  }
}
