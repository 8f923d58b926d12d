import { OnebyteError } from '../errors.ts';
import type { StoredTensor } from './source.ts';
import type { TensorView } from './tensor.ts';

/** Bytes of an element of every dtype that the format defines and we read or know how to skip over. */
const DTYPE_BYTES: ReadonlyMap<string, number> = new Map([
  ['F64', 8],
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['I64', 8],
  ['I32', 4],
  ['I16', 2],
  ['I8', 1],
  ['U64', 8],
  ['U32', 4],
  ['U16', 2],
  ['U8', 1],
  ['BOOL', 1],
]);

/** The format's own limit on its header. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_RANK = 16;

/** A tensor's place in a file. */
export interface Entry extends StoredTensor {
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly end: number;
}

export function refuse(field: string, message: string, cause?: unknown): never {
  throw new OnebyteError('MODEL_FILE_INVALID', `${field}: ${message}`, {
    field,
    remedy: 'fetch the file again, and check its SHA-256',
    ...(cause === undefined ? {} : { cause }),
  });
}

function isNaturals(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function checkEntry(file: string, name: string, raw: unknown, dataStart: number, fileBytes: number): Entry {
  const field = `${file}[${name}]`;
  if (typeof raw !== 'object' || raw === null) refuse(field, 'is no tensor entry');
  const { dtype, shape, data_offsets: offsets } = raw as Record<string, unknown>;
  const width = typeof dtype === 'string' ? DTYPE_BYTES.get(dtype) : undefined;
  if (typeof dtype !== 'string' || width === undefined)
    refuse(field, `unknown dtype ${JSON.stringify(dtype)}`);
  if (!isNaturals(shape) || shape.length > MAX_RANK) refuse(field, 'shape is not a list of whole numbers');
  if (!isNaturals(offsets) || offsets.length !== 2) refuse(field, 'data_offsets are not two whole numbers');
  const [begin, stop] = offsets as [number, number];
  if (begin > stop || dataStart + stop > fileBytes) refuse(field, 'data_offsets reach outside of the file');
  const bytes = shape.reduce((a, b) => a * b, width);
  if (bytes !== stop - begin)
    refuse(field, `shape [${shape}] of ${dtype} does not fill ${stop - begin} bytes`);
  return { name, dtype, dims: shape, start: dataStart + begin, end: dataStart + stop };
}

/**
 * Bytes of the JSON that follows the first eight bytes of a file.
 * @throws {OnebyteError} MODEL_FILE_INVALID where the file is shorter than that
 */
export function headerBytes(file: string, first: Uint8Array, fileBytes: number): number {
  if (first.length < 8) refuse(file, 'is shorter than its header');
  const length = Number(new DataView(first.buffer, first.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || length > fileBytes - 8) {
    refuse(file, `says its header has ${length} bytes, in a file of ${fileBytes}`);
  }
  return length;
}

/**
 * The tensors of a file, from its header, checked against the size of the file.
 * @throws {OnebyteError} MODEL_FILE_INVALID
 */
export function parseHeader(file: string, json: Uint8Array, fileBytes: number): Entry[] {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    refuse(file, 'its header is not JSON', cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    refuse(file, 'its header is no object');
  const entries = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, raw]) => checkEntry(file, name, raw, 8 + json.length, fileBytes));
  const sorted = entries.toSorted((a, b) => a.start - b.start || a.end - b.end);
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i]!.start < sorted[i - 1]!.end) {
      refuse(`${file}[${sorted[i]!.name}]`, `overlaps ${sorted[i - 1]!.name}`);
    }
  }
  return sorted;
}

/** Whether tensors of a dtype are weights that we read. */
export function isFloat(dtype: string): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';
}

/** Bytes of one number. */
export function widthOf(dtype: string): number {
  return DTYPE_BYTES.get(dtype)!;
}

/**
 * Widens numbers exactly.
 * @param bytes little endian, at any offset
 */
export function widen(dtype: string, bytes: Uint8Array, into: Float32Array): void {
  const width = widthOf(dtype);
  // A typed array needs an aligned start; a copy gives one where the file does not.
  const { buffer, byteOffset } = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  if (dtype === 'F32') into.set(new Float32Array(buffer, byteOffset, into.length));
  else if (dtype === 'F16') into.set(new Float16Array(buffer, byteOffset, into.length));
  else {
    // bfloat16 is the upper half of a float32.
    const halves = new Uint16Array(buffer, byteOffset, into.length);
    const words = new Uint32Array(into.buffer, into.byteOffset, into.length);
    for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
  }
}

function toFloat32(bytes: Uint8Array, { dtype, start, end }: Entry): Float32Array {
  const part = bytes.subarray(start, end);
  if (dtype === 'F32' && part.byteOffset % 4 === 0)
    return new Float32Array(part.buffer, part.byteOffset, part.length / 4);
  const data = new Float32Array(part.length / widthOf(dtype));
  widen(dtype, part, data);
  return data;
}

/**
 * Reads a safetensors file from memory. F32 tensors are views of `bytes`, F16 and BF16 are widened exactly; tensors
 * of whole numbers (such as `position_ids`) and F64 are left out. Nothing is allocated before the header has been
 * checked against the file's size.
 * @throws {OnebyteError} MODEL_FILE_INVALID
 */
export function readSafetensors(bytes: Uint8Array, file = 'model.safetensors'): Map<string, TensorView> {
  const tensors = new Map<string, TensorView>();
  const length = headerBytes(file, bytes, bytes.length);
  for (const entry of parseHeader(file, bytes.subarray(8, 8 + length), bytes.length)) {
    if (isFloat(entry.dtype)) tensors.set(entry.name, { dims: entry.dims, data: toFloat32(bytes, entry) });
  }
  return tensors;
}

/** Writes F32 tensors as a safetensors file; header padded to 8 bytes, tensors in the given order. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, TensorView>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, { dims }] of tensors) {
    const bytes = 4 * dims.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'F32', shape: dims, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.fill(0x20, 8, 8 + length).set(json, 8);
  let at = 8 + length;
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}
