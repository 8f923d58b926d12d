import { OnebyteError } from '../../errors.ts';

/** Where a tensor's numbers lie in the file, little-endian and row-major. */
export interface Numbers {
  readonly offset: number;
  readonly bytes: number;
}

/** Reads bytes of a file from `at` on into memory. @returns how many there were; 0 at its end */
export type ReadAt = (into: Uint8Array, at: number) => number;

/** An ONNX file without the numbers of its initializers. */
export interface Slim {
  /** A protobuf of the same model; initializers whose numbers were left out have none. */
  readonly bytes: Uint8Array;
  /** By the initializer's position in the graph; undefined: its numbers are in `bytes`, or in another file. */
  readonly numbers: readonly (Numbers | undefined)[];
}

/** Field numbers of onnx.proto3. */
const MODEL_GRAPH = 7;
const GRAPH_NODE = 1;
const GRAPH_INITIALIZER = 5;
const TENSOR_FLOAT_DATA = 4;
const TENSOR_RAW_DATA = 9;

const LENGTH_DELIMITED = 2;
/** Numbers below this stay in the protobuf: shapes, constants. */
const SMALL = 1024;
/** Nodes and initializers; the largest models that people export have some ten thousand. */
const MOST_PARTS = 1_000_000;
/** A graph without its weights. */
const MOST_BYTES = 1 << 26;
const WINDOW = 1 << 16;

export function refuseOnnx(file: string, message: string, cause?: unknown): never {
  throw new OnebyteError('MODEL_FILE_INVALID', `${file}: ${message}`, {
    field: file,
    remedy: 'fetch the file again, and check its SHA-256',
    ...(cause === undefined ? {} : { cause }),
  });
}

interface Field {
  readonly number: number;
  readonly wire: number;
  /** Where its tag begins, where its contents begin, and where it ends. */
  readonly start: number;
  readonly data: number;
  readonly end: number;
}

/** Reads a file forward through a small window. */
class Scanner {
  readonly #readAt: ReadAt;
  readonly #file: string;
  readonly #size: number;
  readonly #window: Uint8Array;
  #from = 0;
  #filled = 0;

  constructor(readAt: ReadAt, file: string, size: number) {
    this.#readAt = readAt;
    this.#file = file;
    this.#size = size;
    this.#window = new Uint8Array(Math.min(WINDOW, size));
  }

  byte(at: number): number {
    if (at < this.#from || at >= this.#from + this.#filled) {
      this.#from = at;
      this.#filled = this.#read(this.#window.subarray(0, Math.min(WINDOW, this.#size - at)), at);
    }
    return this.#window[at - this.#from]!;
  }

  bytes(from: number, to: number): Uint8Array {
    const into = new Uint8Array(to - from);
    this.#read(into, from);
    return into;
  }

  #read(into: Uint8Array, at: number): number {
    for (let got = 0; got < into.length; ) {
      const count = this.#readAt(into.subarray(got), at + got);
      if (count === 0) refuseOnnx(this.#file, 'has become shorter');
      got += count;
    }
    return into.length;
  }

  /** @returns the value, and where it ends */
  varint(at: number, end: number): [value: number, at: number] {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      if (at >= end) refuseOnnx(this.#file, 'ends within a number');
      const byte = this.byte(at++);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return [value, at];
    }
    refuseOnnx(this.#file, 'has a number of more than ten bytes');
  }

  /** Fields of a message, one after the other. */
  *fields(start: number, end: number): Generator<Field> {
    for (let at = start; at < end; ) {
      const [tag, afterTag] = this.varint(at, end);
      const wire = tag % 8;
      const number = Math.floor(tag / 8);
      if (number < 1 || number > 2 ** 29) refuseOnnx(this.#file, `has a field of number ${number}`);
      let data = afterTag;
      let stop: number;
      if (wire === 0) stop = this.varint(afterTag, end)[1];
      else if (wire === 1) stop = afterTag + 8;
      else if (wire === 5) stop = afterTag + 4;
      else if (wire === LENGTH_DELIMITED) {
        const [length, from] = this.varint(afterTag, end);
        data = from;
        stop = from + length;
      } else refuseOnnx(this.#file, 'is no ONNX model');
      if (stop > end) refuseOnnx(this.#file, 'has a part that reaches beyond what it is part of');
      yield { number, wire, start: at, data, end: stop };
      at = stop;
    }
  }
}

/** Collects what stays of a message. */
class Copy {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  add(part: Uint8Array): void {
    this.#parts.push(part);
    this.length += part.length;
  }

  /** A length-delimited field. */
  message(number: number, contents: Copy): void {
    this.add(
      Uint8Array.from([...varintBytes(number * 8 + LENGTH_DELIMITED), ...varintBytes(contents.length)]),
    );
    for (const part of contents.#parts) this.add(part);
  }

  take(): Uint8Array {
    const whole = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

function* varintBytes(value: number): Generator<number> {
  let left = value;
  for (; left > 127; left = Math.floor(left / 128)) yield (left % 128) + 128;
  yield left;
}

/**
 * Reads an ONNX file but for the numbers of its initializers, of which it notes the place. Memory is a small window
 * and the graph itself, whatever the size of the file.
 * @throws {OnebyteError} MODEL_FILE_INVALID
 */
export function slimOnnx(readAt: ReadAt, file: string, size: number): Slim {
  const scanner = new Scanner(readAt, file, size);
  const numbers: (Numbers | undefined)[] = [];
  let copied = 0;
  let parts = 0;
  const rest = (copy: Copy, { start, end }: Field) => {
    copied += end - start;
    if (copied > MOST_BYTES) refuseOnnx(file, `has more than ${MOST_BYTES} bytes beside its weights`);
    copy.add(scanner.bytes(start, end));
  };
  const tensor = ({ data, end }: Field): Copy => {
    const copy = new Copy();
    let found: Numbers | undefined;
    for (const field of scanner.fields(data, end)) {
      const bytes = field.end - field.data;
      const isData = field.number === TENSOR_RAW_DATA || field.number === TENSOR_FLOAT_DATA;
      if (!isData || field.wire !== LENGTH_DELIMITED || bytes < SMALL) rest(copy, field);
      else if (found !== undefined) refuseOnnx(file, 'has a tensor with two lists of numbers');
      else found = { offset: field.data, bytes };
    }
    numbers.push(found);
    return copy;
  };
  const graph = ({ data, end }: Field): Copy => {
    const copy = new Copy();
    for (const field of scanner.fields(data, end)) {
      const isPart = field.number === GRAPH_NODE || field.number === GRAPH_INITIALIZER;
      if (isPart && ++parts > MOST_PARTS) refuseOnnx(file, `has more than ${MOST_PARTS} nodes and weights`);
      if (field.number === GRAPH_INITIALIZER && field.wire === LENGTH_DELIMITED)
        copy.message(GRAPH_INITIALIZER, tensor(field));
      else rest(copy, field);
    }
    return copy;
  };
  const model = new Copy();
  let graphs = 0;
  for (const field of scanner.fields(0, size)) {
    if (field.number !== MODEL_GRAPH || field.wire !== LENGTH_DELIMITED) rest(model, field);
    else if (++graphs > 1) refuseOnnx(file, 'has two graphs');
    else model.message(MODEL_GRAPH, graph(field));
  }
  if (graphs === 0) refuseOnnx(file, 'is no ONNX model: it has no graph');
  return { bytes: model.take(), numbers };
}
