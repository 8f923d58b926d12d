/** Which files a model consists of, in a folder or in the cache, and what its digest is of. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import { sha256File } from './download.ts';

export const WEIGHTS = 'model.safetensors';
/** Says which file has which weight, where they come in several. */
export const INDEX = 'model.safetensors.index.json';
/** The files of a model folder. */
export const MODEL_FILES = ['config.json', 'tokenizer.json', WEIGHTS] as const;
/** Most files that weights come in. */
const MOST_SHARDS = 1024;

/** What a model consists of in the cache. */
export interface Parts {
  /** Beside the weights. */
  readonly needed: readonly string[];
  /** Fetched where there are such: a folder's chat template is in one of them. */
  readonly wanted: readonly string[];
  readonly weights: string;
  /** Whether the weights are one file, to be named as such, and not a folder. */
  readonly single: boolean;
}

const TOKENIZER = { needed: ['tokenizer.json'], wanted: ['tokenizer_config.json', 'chat_template.jinja'] };
const FOLDER: Parts = {
  needed: ['config.json', 'tokenizer.json'],
  wanted: TOKENIZER.wanted,
  weights: WEIGHTS,
  single: false,
};
const GGUF: Parts = { needed: [], wanted: [], weights: 'model.gguf', single: true };
const ONNX: Parts = {
  needed: TOKENIZER.needed,
  wanted: [...TOKENIZER.wanted, 'config.json'],
  weights: 'model.onnx',
  single: true,
};

/** What the model at an address consists of. */
export function partsOf(uri: string): Parts {
  if (/[.]onnx(@[^@]*)?$/i.test(uri)) return ONNX;
  return /[.]gguf(@[^@]*)?$/i.test(uri) ? GGUF : FOLDER;
}

/** Whether a folder holds a model's weights in several files. */
export function inShards(folder: string, { single }: Parts): boolean {
  return !single && existsSync(join(folder, INDEX));
}

/** The path that stands for a model in a folder of the cache. */
export function pathOf(folder: string, { single, weights }: Parts): string {
  return single ? join(folder, weights) : folder;
}

/**
 * SHA-256 of the weights in a folder: of the file, or of what `sha256sum` prints for all of them, sorted by name.
 * @throws OnebyteError MODEL_FILE_MISSING, MODEL_FILE_INVALID
 */
export async function digestOf(folder: string, parts: Parts): Promise<string> {
  if (!inShards(folder, parts)) return sha256File(join(folder, parts.weights));
  let list = '';
  for (const name of await shardsOf(folder)) {
    const path = join(folder, name);
    if (!existsSync(path))
      throw new OnebyteError('MODEL_FILE_MISSING', `${folder} has no ${name}, which ${INDEX} names`, {
        field: name,
        remedy: 'put all files of the model into one folder',
      });
    list += `${await sha256File(path)}  ${name}\n`;
  }
  return createHash('sha256').update(list).digest('hex');
}

/**
 * Names of the files that a folder's index says its weights are in, sorted.
 * @throws OnebyteError MODEL_FILE_INVALID where it is no index, or leads out of the folder
 */
export async function shardsOf(folder: string): Promise<string[]> {
  const names = await namesIn(join(folder, INDEX));
  const all = [...new Set(names)].sort();
  if (
    all.length > 0 &&
    all.length <= MOST_SHARDS &&
    all.every((name) => /^[\w.-]+[.]safetensors$/.test(name))
  )
    return all;
  throw new OnebyteError('MODEL_FILE_INVALID', `${INDEX} names no safetensors files of its folder`, {
    field: INDEX,
    remedy: 'fetch the file again, or use the one that was published with the model',
  });
}

async function namesIn(path: string): Promise<string[]> {
  try {
    const { weight_map: map } = JSON.parse(await readFile(path, 'utf8')) as { weight_map?: unknown };
    return Object.values(map as Record<string, unknown>).map(String);
  } catch {
    return [];
  }
}
