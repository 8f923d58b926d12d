import { OnebyteError } from '../../errors.ts';
import { GGUF_TYPES, type GgufType, ggufType, ggufTypeLabel } from './types.ts';

/** Numbers of an array, in the width of the file. Truth values are bytes. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | BigUint64Array
  | BigInt64Array
  | Float64Array;

/** A value of the metadata. Numbers of 64 bits that a double cannot hold are bigints. */
export type GgufValue = number | bigint | boolean | string | GgufNumbers | readonly GgufValue[];

/** A tensor as the header names it. */
export interface GgufTensor {
  readonly name: string;
  /** Row-major, the slowest first: [out, in] of a matrix. The file has them the other way round. */
  readonly dims: readonly number[];
  readonly type: GgufType;
  /** Bytes from the start of the file. */
  readonly start: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Bytes of the header itself. */
  readonly bytes: number;
}

const MAGIC = 0x46554747;
/** Versions 2 and 3 differ only in that 3 may be big-endian, which nobody writes. */
const VERSIONS: readonly number[] = [2, 3];
const MAX_RANK = 4;
const MAX_NESTING = 4;
const MAX_ALIGNMENT = 2 ** 20;
/** Fewest bytes of a metadata entry (key, type, one byte) and of a tensor's (name, rank, a dimension, type, offset). */
const LEAST_ENTRY = 13;
const LEAST_TENSOR = 32;

/** Arrays of the metadata's numbers by their type. */
const NUMBERS: Readonly<Record<number, new (buffer: ArrayBuffer) => GgufNumbers>> = {
  0: Uint8Array,
  1: Int8Array,
  2: Uint16Array,
  3: Int16Array,
  4: Uint32Array,
  5: Int32Array,
  6: Float32Array,
  7: Uint8Array,
  10: BigUint64Array,
  11: BigInt64Array,
  12: Float64Array,
};
/** Bytes of such a number. */
const WIDTH: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const STRING = 8;
const ARRAY = 9;

/** The bytes at hand end within the header, and the file goes on. */
export class MoreNeeded extends Error {}

export function refuseFile(field: string, message: string, cause?: unknown): never {
  throw new OnebyteError('MODEL_FILE_INVALID', `${field}: ${message}`, {
    field,
    remedy: 'fetch the file again, and check its SHA-256',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Reads forward, and never beyond what the file has: every count is checked before anything is made for it. */
class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fileBytes: number;
  readonly #file: string;
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true });

  constructor(bytes: Uint8Array, fileBytes: number, file: string) {
    // A plain array: `slice` of a Buffer would not copy.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileBytes = fileBytes;
    this.#file = file;
  }

  refuse(message: string): never {
    refuseFile(this.#file, message);
  }

  /** Moves on by so many bytes. @returns where they begin */
  take(count: number): number {
    const start = this.at;
    if (count > this.#fileBytes - start) this.refuse('ends within its header');
    if (count > this.#bytes.length - start) throw new MoreNeeded();
    this.at += count;
    return start;
  }

  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  u64(): number {
    const value = this.#view.getBigUint64(this.take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.refuse(`says ${value} where it has a size`);
    return Number(value);
  }

  /** A count of things that have at least so many bytes each. */
  count(least: number, what: string): number {
    const count = this.u64();
    if (count > (this.#fileBytes - this.at) / least)
      this.refuse(`says it has ${count} ${what}, in ${this.#fileBytes} bytes`);
    return count;
  }

  string(): string {
    const length = this.count(1, 'bytes of text');
    const start = this.take(length);
    try {
      return this.#utf8.decode(this.#bytes.subarray(start, start + length));
    } catch (cause) {
      refuseFile(this.#file, 'has text that is not UTF-8', cause);
    }
  }

  value(type: number, depth = 0): GgufValue {
    const view = this.#view;
    switch (type) {
      case 0:
        return view.getUint8(this.take(1));
      case 1:
        return view.getInt8(this.take(1));
      case 2:
        return view.getUint16(this.take(2), true);
      case 3:
        return view.getInt16(this.take(2), true);
      case 4:
        return view.getUint32(this.take(4), true);
      case 5:
        return view.getInt32(this.take(4), true);
      case 6:
        return view.getFloat32(this.take(4), true);
      case 7:
        return view.getUint8(this.take(1)) !== 0;
      case STRING:
        return this.string();
      case ARRAY:
        return this.#array(depth + 1);
      case 10:
        return plain(view.getBigUint64(this.take(8), true));
      case 11:
        return plain(view.getBigInt64(this.take(8), true));
      case 12:
        return view.getFloat64(this.take(8), true);
      default:
        this.refuse(`has a metadata value of the unknown type ${type}`);
    }
  }

  #array(depth: number): GgufValue {
    if (depth > MAX_NESTING) this.refuse(`nests arrays more than ${MAX_NESTING} deep`);
    const type = this.u32();
    const Numbers = NUMBERS[type];
    if (Numbers !== undefined) {
      const width = WIDTH[type]!;
      const length = this.count(width, 'values in an array') * width;
      const start = this.take(length);
      return new Numbers(this.#bytes.slice(start, start + length).buffer);
    }
    if (type !== STRING && type !== ARRAY) this.refuse(`has an array of the unknown type ${type}`);
    const count = this.count(type === STRING ? 8 : 12, 'values in an array');
    const values: GgufValue[] = [];
    for (let i = 0; i < count; i++) values.push(this.value(type, depth));
    return values;
  }
}

function plain(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A tensor's entry; its offset still counts from the start of the data. */
function readTensor(reader: Reader, file: string): GgufTensor {
  const name = reader.string();
  const field = `${file}[${name}]`;
  const rank = reader.u32();
  if (rank < 1 || rank > MAX_RANK) refuseFile(field, `has ${rank} dimensions`);
  const dims: number[] = [];
  for (let i = 0; i < rank; i++) dims.unshift(reader.u64());
  const number = reader.u32();
  const type = ggufType(number);
  if (type === undefined) {
    const known = Object.keys(GGUF_TYPES).join(', ');
    throw new OnebyteError(
      'MODEL_TYPE_UNSUPPORTED',
      `${field}: its weights are of the type ${ggufTypeLabel(number)}; known: ${known}`,
      { field, remedy: `convert the model with llama-quantize to one of ${known}` },
    );
  }
  const size = dims.reduce((a, b) => a * b, 1);
  const inner = dims.at(-1)!;
  if (size < 1 || !Number.isSafeInteger(size)) refuseFile(field, `has the shape [${dims}]`);
  if (inner % type.weights !== 0)
    refuseFile(field, `has rows of ${inner}, no multiple of ${type.weights} as ${type.name} asks`);
  return { name, dims, type, start: reader.u64(), bytes: (size / type.weights) * type.bytes };
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, file: string): number {
  const value = metadata.get('general.alignment') ?? 32;
  const right = typeof value === 'number' && value >= 8 && value <= MAX_ALIGNMENT && value % 8 === 0;
  if (!right) refuseFile(`${file}[general.alignment]`, `is ${String(value)}, no multiple of 8`);
  return value;
}

function place(
  tensor: GgufTensor,
  dataStart: number,
  alignment: number,
  fileBytes: number,
  file: string,
): GgufTensor {
  const field = `${file}[${tensor.name}]`;
  if (tensor.start % alignment !== 0)
    refuseFile(field, `begins at ${tensor.start}, no multiple of ${alignment}`);
  const start = dataStart + tensor.start;
  if (start + tensor.bytes > fileBytes) refuseFile(field, 'reaches beyond the end of the file');
  return { ...tensor, start };
}

/**
 * Reads the header of a GGUF file (the format's description: ggml/docs/gguf.md), version 2 or 3, little-endian.
 * Nothing is made for a count before the count has been held against the file's size.
 * @param bytes the file's beginning
 * @param fileBytes size of the whole file
 * @throws {MoreNeeded} where the header goes on beyond `bytes`
 * @throws {OnebyteError} MODEL_FILE_INVALID, MODEL_TYPE_UNSUPPORTED
 */
export function parseGguf(bytes: Uint8Array, fileBytes = bytes.length, file = 'model.gguf'): GgufHeader {
  const reader = new Reader(bytes, fileBytes, file);
  if (fileBytes < 24 || reader.u32() !== MAGIC) reader.refuse('is no GGUF file');
  const version = reader.u32();
  if (!VERSIONS.includes(version))
    reader.refuse(`is of GGUF version ${version}; known: ${VERSIONS.join(', ')}`);
  const tensorCount = reader.count(LEAST_TENSOR, 'tensors');
  const entries = reader.count(LEAST_ENTRY, 'metadata entries');
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entries; i++) {
    const key = reader.string();
    if (metadata.has(key)) reader.refuse(`has ${key} twice`);
    metadata.set(key, reader.value(reader.u32()));
  }
  const alignment = alignmentOf(metadata, file);
  const found: GgufTensor[] = [];
  for (let i = 0; i < tensorCount; i++) found.push(readTensor(reader, file));
  const dataStart = Math.ceil(reader.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const tensor of found) {
    if (tensors.has(tensor.name)) refuseFile(`${file}[${tensor.name}]`, 'is there twice');
    tensors.set(tensor.name, place(tensor, dataStart, alignment, fileBytes, file));
  }
  const sorted = [...tensors.values()].sort((a, b) => a.start - b.start);
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!;
    if (sorted[i]!.start < before.start + before.bytes)
      refuseFile(`${file}[${sorted[i]!.name}]`, `overlaps ${before.name}`);
  }
  return { version, metadata, tensors, bytes: reader.at };
}
