/** The product's image, from its Dockerfile as it is, by buildah: no daemon, no registry. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { withLock } from '../tools/lock.ts';
import { command } from './command.ts';
import { cached, imageCache } from './image.ts';
import { standIns } from './stand-in.ts';

const root = join(import.meta.dirname, '..', '..');
/** All that goes into the image, as .dockerignore has it. */
const SOURCES = [
  ...['Dockerfile', '.dockerignore', '.npmrc', 'LICENSE', 'package.json', 'package-lock.json'],
  ...['crds', 'worker', 'operator', 'cli'],
];
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

export interface ProductImage {
  readonly repository: string;
  readonly tag: string;
  /** Where its archive is. */
  readonly path: string;
  /** Of the archive, compressed. */
  readonly bytes: number;
}

/** The image of the sources as they are now; built at most once for each state of them. */
export async function productImage(tag: string, repository = 'onebyte.test/onebyte'): Promise<ProductImage> {
  const name = `${repository}:${tag}`;
  const prefix = `${name.replaceAll(/[/:]/g, '-')}-`;
  const suffix = `-${await digestOfSources()}.tar`;
  const path = await cached(`${prefix.slice(0, -1)}${suffix}`, async (out) => {
    const twin = (await readdir(imageCache())).find((other) => other.endsWith(suffix));
    if (twin === undefined) await build(name, out);
    else await renamed(join(imageCache(), twin), name, out);
    await forgetOld(prefix);
  });
  return { repository, tag, path, bytes: (await stat(path)).size };
}

/** Archives of earlier sources, but for the latest: another run may be at it. */
async function forgetOld(prefix: string): Promise<void> {
  const names = (await readdir(imageCache())).filter(
    (name) => name.startsWith(prefix) && /\.tar$/.test(name),
  );
  const times = await Promise.all(names.map(async (name) => (await stat(join(imageCache(), name))).mtimeMs));
  const latest = Math.max(...times);
  for (const [i, name] of names.entries())
    if (times[i]! < latest) await rm(join(imageCache(), name), { force: true });
}

async function digestOfSources(): Promise<string> {
  const hash = createHash('sha256').update(process.versions.node);
  for (const file of (await Promise.all(SOURCES.map(filesBelow))).flat().sort())
    hash.update(`${relative(root, file)}\0`).update(await readFile(file));
  return hash.digest('hex').slice(0, 16);
}

async function filesBelow(name: string): Promise<string[]> {
  const path = join(root, name);
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function build(name: string, out: string): Promise<void> {
  // One at a time: the layers of one are those of the next.
  await withLock(join(imageCache(), 'buildah.lock'), async () => {
    const store = join(imageCache(), 'buildah');
    const flags = ['--root', store, '--runroot', join(store, 'run'), '--storage-driver', 'overlay'];
    const buildah = (...args: string[]) => command('buildah', [...flags, ...args]);
    for (const [base, archive] of Object.entries(await standIns())) {
      const known = await buildah('inspect', '--type', 'image', base).catch(() => '');
      if (known !== '') continue;
      const id = (await buildah('pull', '-q', `oci-archive:${archive}`)).trim().split('\n').at(-1)!;
      await buildah('tag', id, base);
    }
    const settings = `${out}.npmrc`;
    await writeFile(settings, await npmSettings());
    const volumes = [`${settings}:/root/.npmrc:ro`, `${CERTIFICATES}:${CERTIFICATES}:ro`];
    const how = ['--isolation', 'chroot', '--pull-never', '--network', 'host', '--format', 'oci', '--layers'];
    await buildah('bud', ...how, ...volumes.flatMap((volume) => ['--volume', volume]), '-t', name, root);
    await rm(settings);
    await buildah('push', '-q', name, `oci-archive:${out}:${name}`);
  });
}

/** The same image under another name, which is in the index of its archive alone. */
async function renamed(from: string, name: string, out: string): Promise<void> {
  const folder = await mkdtemp(`${out}.layout-`);
  try {
    await command('tar', ['-xf', from, '-C', folder]);
    const path = join(folder, 'index.json');
    const { manifests, ...rest } = JSON.parse(await readFile(path, 'utf8')) as { manifests: object[] };
    const annotations = { 'org.opencontainers.image.ref.name': name };
    const renamed = manifests.map((manifest) => ({ ...manifest, annotations }));
    await writeFile(path, JSON.stringify({ ...rest, manifests: renamed }));
    await command('tar', ['-cf', out, '-C', folder, 'oci-layout', 'index.json', 'blobs']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What npm needs in order to reach its registry from within the build as it does from here. */
async function npmSettings(): Promise<string> {
  const registry = (await command('npm', ['config', 'get', 'registry'])).trim();
  const trust = readFileSync(CERTIFICATES).length > 0 ? `cafile=${CERTIFICATES}\n` : '';
  return `registry=${registry}\n${trust}`;
}
