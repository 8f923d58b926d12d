/** Images as archives that containerd, buildah and skopeo import, made without a registry and without a daemon. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, link, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { toolCache } from '../tools/tool.ts';
import { command } from './command.ts';

export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
}

/** Where archives are kept from one run to the next. */
export function imageCache(): string {
  return join(toolCache(), '..', 'images');
}

/** The archive of that name in the cache; made, whole or not at all, where it is not there. */
export async function cached(name: string, make: (path: string) => Promise<void>): Promise<string> {
  const path = join(imageCache(), name);
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  if (exists) return path;
  await mkdir(dirname(path), { recursive: true });
  const folder = await mkdtemp(`${path}.`);
  try {
    await make(join(folder, 'image.tar'));
    await rename(join(folder, 'image.tar'), path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return path;
}

/** An image of a few programs and nothing else. @param programs by their path in the image */
export async function imageOf(
  path: string,
  name: string,
  programs: Readonly<Record<string, string>>,
  config: ImageConfig,
): Promise<void> {
  const root = await mkdtemp(`${path}.root-`);
  try {
    for (const [target, source] of Object.entries(programs)) {
      await mkdir(dirname(join(root, target)), { recursive: true });
      await link(source, join(root, target)).catch(() => copyFile(source, join(root, target)));
    }
    await archive(path, name, root, config);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** An OCI image layout with one layer, the files of a folder as they are. */
export async function archive(path: string, name: string, root: string, config: ImageConfig): Promise<void> {
  const folder = await mkdtemp(`${path}.layout-`);
  try {
    const blobs = join(folder, 'blobs', 'sha256');
    await mkdir(blobs, { recursive: true });
    const layer = join(folder, 'layer.tar');
    const stable = ['--sort=name', '--mtime=@0', '--numeric-owner', '--hard-dereference'];
    await command('tar', [...stable, '-cf', layer, '-C', root, '.']);
    const hash = createHash('sha256');
    await pipeline(createReadStream(layer), hash);
    const digest = hash.digest('hex');
    const { size } = await stat(layer);
    await rename(layer, join(blobs, digest));
    const put = async (value: object) => {
      const bytes = Buffer.from(JSON.stringify(value));
      const own = createHash('sha256').update(bytes).digest('hex');
      await writeFile(join(blobs, own), bytes);
      return { digest: `sha256:${own}`, size: bytes.length };
    };
    const type = (kind: string) => `application/vnd.oci.image.${kind}`;
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    const configuration = await put({
      architecture,
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
      // buildah wants as many entries as there are layers.
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'onebyte test/cluster' }],
    });
    const manifest = await put({
      schemaVersion: 2,
      mediaType: type('manifest.v1+json'),
      config: { mediaType: type('config.v1+json'), ...configuration },
      layers: [{ mediaType: type('layer.v1.tar'), digest: `sha256:${digest}`, size }],
    });
    const annotations = {
      'io.containerd.image.name': name,
      'org.opencontainers.image.ref.name': name.split(':').at(-1),
    };
    const described = { mediaType: type('manifest.v1+json'), ...manifest, annotations };
    await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await writeFile(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [described] }));
    await command('tar', ['-cf', path, '-C', folder, 'oci-layout', 'index.json', 'blobs']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface Layer {
  /** Path that it was copied to, or the instruction that made it. */
  readonly from: string;
  /** Compressed. */
  readonly bytes: number;
}

/** Layers of an image in an OCI archive, from the base up. */
export async function layersOf(path: string): Promise<Layer[]> {
  const read = async <T>(name: string) => JSON.parse(await command('tar', ['-xOf', path, name])) as T;
  const blob = ({ digest }: Blob) => `blobs/${digest.replace(':', '/')}`;
  const { manifests } = await read<{ manifests: [Blob] }>('index.json');
  const { config, layers } = await read<{ config: Blob; layers: Blob[] }>(blob(manifests[0]));
  const { history } = await read<{ history?: { created_by?: string; empty_layer?: boolean }[] }>(
    blob(config),
  );
  // A base without a history has its one layer first.
  const steps = (history ?? []).filter(({ empty_layer }) => empty_layer !== true);
  const offset = layers.length - steps.length;
  return layers.map(({ size }, i) => {
    const step = (i < offset ? undefined : steps[i - offset]?.created_by) ?? 'base';
    return { from: /COPY \S+ in (\S+)/.exec(step)?.[1] ?? step.replace(/^\/bin\/sh -c /, ''), bytes: size };
  });
}

interface Blob {
  readonly digest: string;
  readonly size: number;
}
