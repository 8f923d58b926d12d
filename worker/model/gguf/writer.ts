import type { GgufValue } from './header.ts';
import { GGUF_TYPES, type GgufTypeName } from './types.ts';

/** A metadata value with the type that it is written as. */
export type GgufEntry =
  | { readonly type: 'u32' | 'i32' | 'f32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'i32s'; readonly value: readonly number[] }
  | { readonly type: 'f32s'; readonly value: readonly number[] }
  | { readonly type: 'strings'; readonly value: readonly string[] };

/** A tensor to write. */
export interface GgufSource {
  readonly name: string;
  /** Row-major, the slowest first. */
  readonly dims: readonly number[];
  readonly type: GgufTypeName;
  /** Whole blocks of the type. Asked for once, when its turn comes, so that one tensor at a time is in memory. */
  read(): Uint8Array;
}

const VERSION = 3;
const ALIGNMENT = 32;
const NUMBER: Record<GgufEntry['type'], number> = {
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  i32s: 5,
  f32s: 6,
  strings: 8,
};
const ARRAY = 9;

/** Grows as it is written to. */
class Writer {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  #room(count: number): number {
    if (this.length + count > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.length + count));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.length += count;
    return this.length - count;
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  scalar(type: number, value: number | string | boolean): void {
    if (typeof value === 'string') {
      this.text(value);
      return;
    }
    const at = this.#room(typeof value === 'boolean' ? 1 : 4);
    if (typeof value === 'boolean') this.#view.setUint8(at, Number(value));
    else if (type === NUMBER.f32) this.#view.setFloat32(at, value, true);
    else if (type === NUMBER.i32) this.#view.setInt32(at, value, true);
    else this.#view.setUint32(at, value, true);
  }

  entry({ type, value }: GgufEntry): void {
    const number = NUMBER[type];
    if (!Array.isArray(value)) {
      this.u32(number);
      this.scalar(number, value as number | string | boolean);
      return;
    }
    this.u32(ARRAY);
    this.u32(number);
    this.u64(value.length);
    for (const item of value) this.scalar(number, item);
  }

  take(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

function sizeOf({ dims, type }: GgufSource): number {
  const { weights, bytes } = GGUF_TYPES[type];
  return (dims.reduce((a, b) => a * b, 1) / weights) * bytes;
}

/** A GGUF file, version 3, in pieces in the order of the file: the header, then each tensor with its padding. */
export function* writeGguf(
  metadata: ReadonlyMap<string, GgufEntry>,
  tensors: readonly GgufSource[],
): Generator<Uint8Array> {
  const header = new Writer();
  header.u32(0x46554747);
  header.u32(VERSION);
  header.u64(tensors.length);
  header.u64(metadata.size);
  for (const [key, entry] of metadata) {
    header.text(key);
    header.entry(entry);
  }
  let offset = 0;
  for (const tensor of tensors) {
    header.text(tensor.name);
    header.u32(tensor.dims.length);
    for (const dim of tensor.dims.toReversed()) header.u64(dim);
    header.u32(GGUF_TYPES[tensor.type].number);
    header.u64(offset);
    offset += padded(sizeOf(tensor));
  }
  yield header.take();
  yield new Uint8Array(padded(header.length) - header.length);
  for (const tensor of tensors) {
    const bytes = tensor.read();
    yield bytes;
    yield new Uint8Array(padded(bytes.length) - bytes.length);
  }
}

/** The entry that a value of a header is written back as: numbers as u32, or as f32 where they are no whole numbers. */
export function entryOf(value: GgufValue): GgufEntry | undefined {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value === 'boolean') return { type: 'bool', value };
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) return { type: 'f32', value };
    return value >= 0 && value < 2 ** 32 ? { type: 'u32', value } : undefined;
  }
  return undefined;
}
