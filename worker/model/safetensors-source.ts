import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import { type Entry, headerBytes, isFloat, parseHeader, refuse, widen, widthOf } from './safetensors.ts';
import type { StoredTensor, WeightSource } from './source.ts';

export const WEIGHTS = 'model.safetensors';
/** Says which file has which tensor, where the weights come in several. */
export const INDEX = 'model.safetensors.index.json';

/** Bytes read at a time. */
const PIECE = 1 << 22;

interface Shard {
  readonly path: string;
  readonly bytes: number;
  readonly entries: readonly Entry[];
}

/**
 * Weights of a model folder: `model.safetensors`, or the files that `model.safetensors.index.json` names. The digest
 * of several files is the SHA-256 of what `sha256sum` prints for them, sorted by name:
 * `sha256sum model-*.safetensors | sha256sum`.
 * @throws {OnebyteError} MODEL_FILE_MISSING, MODEL_FILE_INVALID
 */
export async function openSafetensors(dir: string): Promise<WeightSource> {
  const index = await readFile(join(dir, INDEX)).catch(() => undefined);
  const names = index === undefined ? [WEIGHTS] : shardNames(index);
  const shards: Shard[] = [];
  for (const name of names) shards.push(await openShard(dir, name));
  const tensors = new Map<string, StoredTensor>();
  for (const { path, entries } of shards) {
    for (const entry of entries) {
      if (tensors.has(entry.name)) refuse(`${basename(path)}[${entry.name}]`, 'is in another file, too');
      const place = { path, offset: entry.start, bytes: entry.end - entry.start };
      if (isFloat(entry.dtype)) tensors.set(entry.name, { ...entry, place });
    }
  }
  return {
    file: index === undefined ? WEIGHTS : INDEX,
    tensors,
    async load(place) {
      const digests: string[] = [];
      for (const shard of shards) digests.push(await readShard(shard, place));
      if (index === undefined) return digests[0]!;
      const list = digests.map((digest, i) => `${digest}  ${names[i]}\n`).join('');
      return createHash('sha256').update(list).digest('hex');
    },
  };
}

/** File names without folders, sorted. */
function shardNames(index: Uint8Array): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(index)) as { weight_map?: unknown })
      ?.weight_map;
  } catch (cause) {
    refuse(INDEX, 'is not JSON', cause);
  }
  if (typeof map !== 'object' || map === null) refuse(INDEX, 'has no weight_map');
  const names = new Set<string>();
  for (const name of Object.values(map)) {
    if (typeof name !== 'string' || !/^[\w.-]+\.safetensors$/.test(name))
      refuse(INDEX, `names ${JSON.stringify(name)}, which is no safetensors file of this folder`);
    names.add(name);
  }
  if (names.size === 0) refuse(INDEX, 'names no file');
  return [...names].sort();
}

async function openShard(dir: string, name: string): Promise<Shard> {
  const path = join(dir, name);
  return withFile(path, async (file) => {
    const { size } = await file.stat();
    const first = await take(file, name, 0, Math.min(8, size));
    const json = await take(file, name, 8, headerBytes(name, first, size));
    // Where links lead: the runtime maps no file outside of the folder that it is told.
    return { path: await realpath(path), bytes: size, entries: parseHeader(name, json, size) };
  });
}

async function readShard(
  { path, bytes, entries }: Shard,
  place: (tensor: StoredTensor) => Float32Array | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  return withFile(path, async (file) => {
    const piece = new Uint8Array(Math.min(PIECE, bytes));
    let at = 0;
    for (const entry of entries) {
      await skip(file, path, at, entry.start, piece, hash);
      at = entry.end;
      const into = isFloat(entry.dtype) ? place(entry) : undefined;
      if (into === undefined) await skip(file, path, entry.start, entry.end, piece, hash);
      else await readInto(file, path, entry, into, piece, hash);
    }
    await skip(file, path, at, bytes, piece, hash);
    return hash.digest('hex');
  });
}

async function readInto(
  file: FileHandle,
  path: string,
  { dtype, start, end }: Entry,
  into: Float32Array,
  piece: Uint8Array,
  hash: Hash,
): Promise<void> {
  const width = widthOf(dtype);
  for (let from = start; from < end; ) {
    const part = piece.subarray(0, Math.min(piece.length - (piece.length % width), end - from));
    await fill(file, path, from, part);
    hash.update(part);
    const first = (from - start) / width;
    widen(dtype, part, into.subarray(first, first + part.length / width));
    from += part.length;
  }
}

async function skip(
  file: FileHandle,
  path: string,
  from: number,
  to: number,
  piece: Uint8Array,
  hash: Hash,
): Promise<void> {
  for (let at = from; at < to; ) {
    const part = piece.subarray(0, Math.min(piece.length, to - at));
    await fill(file, path, at, part);
    hash.update(part);
    at += part.length;
  }
}

async function take(file: FileHandle, name: string, at: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await fill(file, name, at, bytes);
  return bytes;
}

async function fill(file: FileHandle, path: string, at: number, into: Uint8Array): Promise<void> {
  for (let got = 0; got < into.length; ) {
    const { bytesRead } = await file.read(into, got, into.length - got, at + got);
    if (bytesRead === 0) refuse(basename(path), 'ends before the weights that its header names');
    got += bytesRead;
  }
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (cause) {
    throw new OnebyteError('MODEL_FILE_MISSING', `cannot read ${path}`, {
      field: basename(path),
      cause,
      remedy: 'point the job at a folder with config.json, model.safetensors and tokenizer.json',
    });
  }
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
