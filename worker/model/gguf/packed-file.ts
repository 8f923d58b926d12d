import { createHash } from 'node:crypto';
import { access, constants, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { OnebyteError } from '../../errors.ts';
import { unwritable } from '../../system-error.ts';
import { isPacked, PACKED, type PackedRows, type PackedTypeName, packBlocks, packedRows } from '../packed.ts';
import { type Stored, storedView } from '../stored.ts';
import { sizeOf, type TensorView } from '../tensor.ts';
import { type GgufFile, type GgufStored, type RowSink, widening } from './source.ts';

/** Changes with the layout. */
const VERSION = 3;
/** The digest of the GGUF file and the layout's version, at the end of the file. */
const TRAILER = 80;
const ALIGNMENT = 64;

/** Parts of a tensor in the file: bytes and where they begin. */
interface Layout {
  readonly stored: GgufStored;
  readonly offset: number;
  readonly codes: number;
  /** 0: none */
  readonly scales: number;
  readonly least: number;
}

const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
const isMatrix = ({ dims }: GgufStored): boolean => dims.length === 2;

/** Matrices of the file, in its order; a matrix that is not of blocks stays as it is. */
function layoutOf(file: GgufFile): { layouts: Map<string, Layout>; bytes: number } {
  const layouts = new Map<string, Layout>();
  let offset = 0;
  const matrices = [...file.tensors.values()].filter(isMatrix);
  for (const stored of matrices.sort((a, b) => a.tensor.start - b.tensor.start)) {
    const { type, bytes } = stored.tensor;
    const weights = sizeOf(stored);
    const layout = isPacked(type.name)
      ? { stored, offset, ...partBytes(type.name, weights) }
      : { stored, offset, codes: bytes, scales: 0, least: 0 };
    layouts.set(stored.name, layout);
    offset += padded(layout.codes) + padded(layout.scales) + padded(layout.least);
  }
  return { layouts, bytes: offset };
}

function partBytes(type: PackedTypeName, weights: number): Pick<Layout, 'codes' | 'scales' | 'least'> {
  const { bits, size, least, scales } = PACKED[type];
  const numbers = (weights / size) * (scales === 'F16' ? 2 : 4);
  return { codes: (weights * bits) / 8, scales: numbers, least: least ? numbers : 0 };
}

function viewOf({ stored, offset, codes, scales, least }: Layout, path: string): TensorView {
  const { name } = stored.tensor.type;
  const at = { path, offset, bytes: codes };
  const scalesAt = offset + padded(codes);
  const where: Stored = isPacked(name)
    ? {
        type: 'blocks',
        form: PACKED[name],
        codes: at,
        scales: { path, offset: scalesAt, bytes: scales },
        ...(least === 0 ? {} : { least: { path, offset: scalesAt + padded(scales), bytes: least } }),
      }
    : { type: name, at };
  return storedView(stored.dims, where);
}

/**
 * The weights of a GGUF file, its matrices left in a file beside it as the runtime wants them (`Stored`), which is
 * written the first time; a folder that cannot be written to has it in the temporary folder. Vectors are read.
 * @returns the weights by their Hugging Face names, and the lower-case hex SHA-256 of the GGUF file
 */
export async function loadPacked(
  file: GgufFile,
): Promise<{ readonly weights: Map<string, TensorView>; readonly digest: string }> {
  const { layouts, bytes } = layoutOf(file);
  const path = await placeFor(file.path);
  const weights = new Map<string, TensorView>();
  const vector = (stored: GgufStored): RowSink => {
    const data = new Float32Array(sizeOf(stored));
    weights.set(stored.name, { dims: stored.dims, data });
    return widening(stored, data);
  };
  const known = await trailerOf(path, bytes);
  let digest = await file.pass((stored) => (isMatrix(stored) ? undefined : vector(stored)));
  if (known !== trailer(digest)) digest = await write(file, layouts, bytes, path);
  for (const layout of layouts.values()) weights.set(layout.stored.name, viewOf(layout, path));
  return { weights, digest };
}

async function placeFor(gguf: string): Promise<string> {
  const name = `${basename(gguf)}.packed`;
  try {
    await access(dirname(gguf), constants.W_OK);
    return join(dirname(gguf), name);
  } catch {
    // Files of one name may come from many folders.
    const of = createHash('sha256').update(resolve(gguf)).digest('hex').slice(0, 16);
    const folder = join(tmpdir(), `onebyte-packed-${userInfo().uid}`);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return join(folder, `${of}-${name}`);
  }
}

const trailer = (digest: string): string => `onebyte-${VERSION} ${digest}`.padEnd(TRAILER);

async function trailerOf(path: string, bytes: number): Promise<string | undefined> {
  const { size } = (await stat(path).catch(() => undefined)) ?? {};
  if (size !== bytes + TRAILER) return undefined;
  const handle = await open(path);
  try {
    const { buffer } = await handle.read(Buffer.alloc(TRAILER), 0, TRAILER, bytes);
    return buffer.toString('latin1');
  } finally {
    await handle.close();
  }
}

async function write(
  file: GgufFile,
  layouts: ReadonlyMap<string, Layout>,
  bytes: number,
  path: string,
): Promise<string> {
  const part = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    const handle = await open(part, 'w');
    try {
      let pending: (() => Promise<void>) | undefined;
      const digest = await file.pass(
        (stored) => {
          const layout = layouts.get(stored.name);
          if (layout === undefined) return undefined;
          const { sink, flush } = collect(layout, handle);
          pending = flush;
          return sink;
        },
        async () => {
          await pending?.();
          pending = undefined;
        },
      );
      await put(handle, Buffer.from(trailer(digest)), bytes);
      await handle.sync();
      await rename(part, path);
      return digest;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof OnebyteError) throw cause;
    throw unwritable(part, cause);
  } finally {
    await rm(part, { force: true });
  }
}

/** Gathers one tensor in memory, and writes it once it is whole: rows do not come in order. */
function collect(
  { stored, offset, codes, scales }: Layout,
  handle: FileHandle,
): { sink: RowSink; flush: () => Promise<void> } {
  const { name, weights, bytes } = stored.tensor.type;
  const out: PackedRows = isPacked(name)
    ? packedRows(name, sizeOf(stored))
    : { codes: new Uint8Array(codes), scales: new Float32Array(0), least: undefined };
  const flush = async () => {
    await put(handle, out.codes, offset);
    await put(handle, out.scales, offset + padded(codes));
    if (out.least !== undefined) await put(handle, out.least, offset + padded(codes) + padded(scales));
  };
  const sink: RowSink = isPacked(name)
    ? (row, blocks) => packBlocks(name, blocks, row * (blocks.length / bytes) * weights, out)
    : (row, blocks) => out.codes.set(blocks, row * blocks.length);
  return { sink, flush };
}

async function put(handle: FileHandle, view: ArrayBufferView, at: number): Promise<void> {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}
