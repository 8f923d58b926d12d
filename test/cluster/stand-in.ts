/**
 * Stand-ins for the published images that the Dockerfile builds on, for machines that reach no registry: Debian's
 * packages through debootstrap, the pinned Node of this repository, npm of this machine.
 */
import { existsSync } from 'node:fs';
import { appendFile, copyFile, cp, mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { command } from './command.ts';
import { archive, cached } from './image.ts';

const RELEASE = 'bookworm';
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const ID = 1000;

/** Each stand-in by the name it takes the place of. */
export const STAND_INS = {
  debian: 'docker.io/library/debian:bookworm-slim',
  node: 'docker.io/library/node:24-bookworm-slim',
} as const;

/** Image archives by the names that the Dockerfile asks for. */
export async function standIns(): Promise<Record<string, string>> {
  const debian = await cached(`stand-in-${RELEASE}.tar`, (path) =>
    inFolder(path, async (root) => {
      await debootstrap(root);
      await archive(path, STAND_INS.debian, root, { Env: [PATH], Cmd: ['bash'] });
    }),
  );
  const node = await cached(`stand-in-node-${process.versions.node}.tar`, (path) =>
    inFolder(path, async (root) => {
      await unpack(debian, root);
      await addNode(root);
      await archive(path, STAND_INS.node, root, { Env: [PATH], Cmd: ['node'] });
    }),
  );
  return { [STAND_INS.debian]: debian, [STAND_INS.node]: node };
}

async function inFolder(path: string, work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(`${path}.root-`);
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function debootstrap(root: string): Promise<void> {
  await command('debootstrap', ['--variant=minbase', '--include=ca-certificates', RELEASE, root]);
  for (const rest of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc', 'usr/share/man'])
    await rm(join(root, rest), { recursive: true, force: true });
  await command('chmod', ['755', root]);
}

/** The only layer of an archive of ours. */
async function unpack(image: string, root: string): Promise<void> {
  const script = `mkdir "$1.image" && tar -xf "$0" -C "$1.image"
for blob in "$1.image"/blobs/sha256/*; do tar -xf "$blob" -C "$1" 2>/dev/null; done
rm -r "$1.image"; test -x "$1/bin/sh"`;
  await command('sh', ['-c', script, image, root]);
}

async function addNode(root: string): Promise<void> {
  const local = join(root, 'usr', 'local');
  await copyFile(await realpath(process.execPath), join(local, 'bin', 'node'));
  const npm = dirname(dirname(await realpath((await command('sh', ['-c', 'command -v npm'])).trim())));
  if (!existsSync(join(npm, 'package.json'))) throw new Error(`${npm} is not where npm is`);
  const modules = join(local, 'lib', 'node_modules');
  await mkdir(modules, { recursive: true });
  await cp(npm, join(modules, 'npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, 'bin', name));
  await mkdir(join(root, 'home', 'node'), { recursive: true });
  await appendFile(join(root, 'etc', 'passwd'), `node:x:${ID}:${ID}::/home/node:/bin/bash\n`);
  await appendFile(join(root, 'etc', 'group'), `node:x:${ID}:\n`);
}
