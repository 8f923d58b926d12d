import { OnebyteError } from '../errors.ts';
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

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly number[];
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly end: number;
}

function refuse(field: string, message: string, cause?: unknown): never {
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

function parseHeader(file: string, bytes: Uint8Array): Entry[] {
  if (bytes.length < 8) refuse(file, 'is shorter than its header');
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES || length > bytes.length - 8) {
    refuse(file, `says its header has ${length} bytes, in a file of ${bytes.length}`);
  }
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + length)));
  } catch (cause) {
    refuse(file, 'its header is not JSON', cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header))
    refuse(file, 'its header is no object');
  const entries = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, raw]) => checkEntry(file, name, raw, 8 + length, bytes.length));
  const sorted = entries.toSorted((a, b) => a.start - b.start || a.end - b.end);
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i]!.start < sorted[i - 1]!.end) {
      refuse(`${file}[${sorted[i]!.name}]`, `overlaps ${sorted[i - 1]!.name}`);
    }
  }
  return entries;
}

/** bfloat16 is the upper half of a float32. */
function fromBf16(halves: Uint16Array): Float32Array {
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
  return new Float32Array(words.buffer);
}

function toFloat32(bytes: Uint8Array, entry: Entry): Float32Array | undefined {
  // A typed array needs an aligned start; a copy gives one where the file does not.
  const at = bytes.byteOffset + entry.start;
  const length = entry.end - entry.start;
  const view = (align: number): { buffer: ArrayBufferLike; at: number } =>
    at % align === 0
      ? { buffer: bytes.buffer, at }
      : { buffer: bytes.slice(entry.start, entry.end).buffer, at: 0 };
  if (entry.dtype === 'F32') {
    const from = view(4);
    return new Float32Array(from.buffer, from.at, length / 4);
  }
  const from = view(2);
  if (entry.dtype === 'F16') return Float32Array.from(new Float16Array(from.buffer, from.at, length / 2));
  if (entry.dtype === 'BF16') return fromBf16(new Uint16Array(from.buffer, from.at, length / 2));
  return undefined;
}

/**
 * Reads a safetensors file from memory. F32 tensors are views of `bytes`, F16 and BF16 are widened exactly; tensors
 * of whole numbers (such as `position_ids`) and F64 are left out. Nothing is allocated before the header has been
 * checked against the file's size.
 * @throws {OnebyteError} MODEL_FILE_INVALID
 */
export function readSafetensors(bytes: Uint8Array, file = 'model.safetensors'): Map<string, TensorView> {
  const tensors = new Map<string, TensorView>();
  for (const entry of parseHeader(file, bytes)) {
    const data = toFloat32(bytes, entry);
    if (data !== undefined) tensors.set(entry.name, { dims: entry.dims, data });
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
  for (const [name, { dims, data }] of tensors) {
    header[name] = { dtype: 'F32', shape: dims, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
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
