import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { OnebyteError } from '../../errors.ts';
import type { StoredTensor, WeightSource } from '../source.ts';
import { architectureOf, configOf } from './config.ts';
import { dequantise } from './dequantise.ts';
import { type GgufHeader, type GgufTensor, MoreNeeded, parseGguf, refuseFile } from './header.ts';
import { huggingFaceName, rowInHead, rowsMoved } from './names.ts';
import { type GgufTokenizer, tokenizerOf } from './tokenizer.ts';

/** Bytes read at a time, or one row where that is longer. */
const PIECE = 1 << 20;
/** How much of a file is looked at first for its header; doubled until it is whole. */
const FIRST = 1 << 21;

/** A tensor under its Hugging Face name. */
export interface GgufStored extends StoredTensor {
  readonly tensor: GgufTensor;
  /** Width of a head where the rows come in llama.cpp's order, else undefined. */
  readonly headWidth: number | undefined;
}

/** What is done with a row of a tensor as it passes: whole blocks, under the row's number in Hugging Face's order. */
export type RowSink = (row: number, blocks: Uint8Array) => void;

/** A GGUF file of the Llama family: everything of a model folder. */
export interface GgufFile {
  readonly path: string;
  readonly header: GgufHeader;
  /** As `config.json` has it. */
  readonly config: Record<string, unknown>;
  readonly tokenizer: GgufTokenizer;
  readonly tensors: ReadonlyMap<string, GgufStored>;
  /**
   * Reads the file once, from start to end.
   * @param ended called after the last row of each tensor that has a sink
   * @returns its lower-case hex SHA-256
   */
  pass(sinkOf: (tensor: GgufStored) => RowSink | undefined, ended?: () => Promise<void>): Promise<string>;
  readonly source: WeightSource;
}

/** Rows and bytes of a row. */
function rowsOf({ dims, bytes }: GgufTensor): { rows: number; rowBytes: number } {
  const rows = dims.slice(0, -1).reduce((a, b) => a * b, 1);
  return { rows, rowBytes: bytes / rows };
}

/**
 * Opens a GGUF file: header, configuration, tokenizer; no weights yet.
 * @throws {OnebyteError} MODEL_FILE_MISSING, MODEL_FILE_INVALID, MODEL_TYPE_UNSUPPORTED, MODEL_FAMILY_UNKNOWN,
 *   MODEL_CONFIG_INVALID, MODEL_TENSOR_MISSING
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const file = basename(path);
  return withFile(path, async (handle) => {
    const header = await headerOf(handle, file);
    const architecture = architectureOf(header, file);
    const frequencies = header.tensors.get('rope_freqs.weight');
    const factors = frequencies === undefined ? undefined : await tensorOf(handle, file, frequencies);
    const config = configOf(header, file, factors);
    const heads = Number(config.num_attention_heads);
    const headWidth = Number(config.head_dim ?? Number(config.hidden_size) / heads);
    const tensors = new Map<string, GgufStored>();
    for (const tensor of header.tensors.values()) {
      const name = huggingFaceName(tensor.name);
      if (name === undefined) continue;
      const { dims, type } = tensor;
      const moved = rowsMoved(architecture, name);
      if (moved && dims[0]! % headWidth !== 0)
        refuseFile(`${file}[${tensor.name}]`, `has ${dims[0]} rows, no multiple of a head's ${headWidth}`);
      tensors.set(name, { name, dims, dtype: type.name, tensor, headWidth: moved ? headWidth : undefined });
    }
    const pass: GgufFile['pass'] = (sinkOf, ended) =>
      withFile(path, (again) => readAll(again, file, tensors, sinkOf, ended));
    const source: WeightSource = {
      file,
      tensors,
      load: (place) =>
        pass((stored) => {
          const into = place(stored);
          return into === undefined ? undefined : widening(stored, into);
        }),
    };
    return { path, header, config, tokenizer: tokenizerOf(header, file), tensors, pass, source };
  });
}

/** Widens each row to where it belongs. */
export function widening({ tensor, headWidth }: GgufStored, into: Float32Array): RowSink {
  // A bias is one row, and each of its numbers moves.
  if (tensor.dims.length === 1 && headWidth !== undefined) {
    return (_, blocks) => {
      const found = new Float32Array(into.length);
      dequantise(tensor.type.name, blocks, found);
      found.forEach((value, i) => {
        into[rowInHead(i, headWidth)] = value;
      });
    };
  }
  const width = tensor.dims.at(-1)!;
  return (row, blocks) => {
    const at = row * width;
    dequantise(
      tensor.type.name,
      blocks,
      into.subarray(at, at + (blocks.length / tensor.type.bytes) * tensor.type.weights),
    );
  };
}

async function headerOf(handle: FileHandle, file: string): Promise<GgufHeader> {
  const { size } = await handle.stat();
  for (let length = Math.min(FIRST, size); ; length = Math.min(2 * length, size)) {
    const bytes = await take(handle, file, 0, new Uint8Array(length));
    try {
      return parseGguf(bytes, size, file);
    } catch (error) {
      if (!(error instanceof MoreNeeded)) throw error;
    }
  }
}

async function tensorOf(
  handle: FileHandle,
  file: string,
  { type, start, bytes }: GgufTensor,
): Promise<Float32Array> {
  const blocks = await take(handle, file, start, new Uint8Array(bytes));
  const out = new Float32Array((bytes / type.bytes) * type.weights);
  dequantise(type.name, blocks, out);
  return out;
}

async function readAll(
  handle: FileHandle,
  file: string,
  tensors: ReadonlyMap<string, GgufStored>,
  sinkOf: (tensor: GgufStored) => RowSink | undefined,
  ended?: () => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256');
  const { size } = await handle.stat();
  const sorted = [...tensors.values()].sort((a, b) => a.tensor.start - b.tensor.start);
  const longest = Math.max(PIECE, ...sorted.map(({ tensor }) => rowsOf(tensor).rowBytes));
  const room = new Uint8Array(longest);
  let at = 0;
  const next = async (length: number): Promise<Uint8Array> => {
    const piece = await take(handle, file, at, room.subarray(0, length));
    hash.update(piece);
    at += length;
    return piece;
  };
  const skipTo = async (end: number) => {
    while (at < end) await next(Math.min(room.length, end - at));
  };
  for (const stored of sorted) {
    const sink = sinkOf(stored);
    if (sink === undefined) continue;
    await skipTo(stored.tensor.start);
    const { rows, rowBytes } = rowsOf(stored.tensor);
    const batch = Math.floor(room.length / rowBytes);
    const moved = stored.headWidth;
    for (let row = 0; row < rows; row += batch) {
      const count = Math.min(batch, rows - row);
      const piece = await next(count * rowBytes);
      for (let i = 0; i < count; i++) {
        const to = moved === undefined || rows === 1 ? row + i : rowInHead(row + i, moved);
        sink(to, piece.subarray(i * rowBytes, (i + 1) * rowBytes));
      }
    }
    await ended?.();
  }
  await skipTo(size);
  return hash.digest('hex');
}

async function take(handle: FileHandle, file: string, at: number, into: Uint8Array): Promise<Uint8Array> {
  for (let got = 0; got < into.length; ) {
    const { bytesRead } = await handle.read(into, got, into.length - got, at + got);
    if (bytesRead === 0) refuseFile(file, 'ends before the weights that its header names');
    got += bytesRead;
  }
  return into;
}

async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle;
  try {
    handle = await open(path);
  } catch (cause) {
    throw new OnebyteError('MODEL_FILE_MISSING', `cannot read ${path}`, {
      field: basename(path),
      cause,
      remedy: 'point the job at the GGUF file',
    });
  }
  try {
    return await use(handle);
  } finally {
    await handle.close();
  }
}
