import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OnebyteError } from '../../../worker/errors.ts';
import { type GgufHeader, MoreNeeded, parseGguf } from '../../../worker/model/gguf/header.ts';
import { GGUF_TYPES, type GgufTypeName } from '../../../worker/model/gguf/types.ts';
import { type GgufEntry, type GgufSource, writeGguf } from '../../../worker/model/gguf/writer.ts';

const CODES = ['MODEL_FILE_INVALID', 'MODEL_TYPE_UNSUPPORTED'];

export function gguf(metadata: Record<string, GgufEntry>, tensors: readonly GgufSource[]): Uint8Array {
  return new Uint8Array(Buffer.concat([...writeGguf(new Map(Object.entries(metadata)), tensors)]));
}

function source(name: string, dims: readonly number[], type: GgufTypeName): GgufSource {
  const { weights, bytes } = GGUF_TYPES[type];
  const length = (dims.reduce((a, b) => a * b, 1) / weights) * bytes;
  return { name, dims, type, read: () => Uint8Array.from({ length }, (_, i) => i % 251) };
}

/** Every tensor lies in the file, fills its bytes, and none overlaps another. */
function checkHeader({ tensors }: GgufHeader, fileBytes: number): void {
  let end = 0;
  for (const { dims, type, start, bytes } of [...tensors.values()].sort((a, b) => a.start - b.start)) {
    assert.ok(start >= end && start + bytes <= fileBytes);
    assert.equal((dims.reduce((a, b) => a * b, 1) / type.weights) * type.bytes, bytes);
    end = start + bytes;
  }
}

const good = gguf(
  {
    'general.architecture': { type: 'string', value: 'llama' },
    'llama.block_count': { type: 'u32', value: 2 },
    'llama.rope.freq_base': { type: 'f32', value: 1e5 },
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.ggml.tokens': { type: 'strings', value: ['a', 'b', '\u0120c', ''] },
    'tokenizer.ggml.token_type': { type: 'i32s', value: [1, 1, 3, -1] },
  },
  [source('a', [2, 64], 'Q4_0'), source('b', [3, 32], 'Q8_0'), source('c', [5], 'F32')],
);

test('a header that was written is read again', () => {
  const { metadata, tensors, version } = parseGguf(good);
  assert.equal(version, 3);
  assert.deepEqual(Object.fromEntries(metadata), {
    'general.architecture': 'llama',
    'llama.block_count': 2,
    'llama.rope.freq_base': 1e5,
    'tokenizer.ggml.add_bos_token': false,
    'tokenizer.ggml.tokens': ['a', 'b', '\u0120c', ''],
    'tokenizer.ggml.token_type': Int32Array.of(1, 1, 3, -1),
  });
  assert.deepEqual(
    [...tensors.values()].map(({ name, dims, type, bytes }) => [name, dims, type.name, bytes]),
    [
      ['a', [2, 64], 'Q4_0', 72],
      ['b', [3, 32], 'Q8_0', 102],
      ['c', [5], 'F32', 20],
    ],
  );
  checkHeader(parseGguf(good), good.length);
});

test('a header cut short asks for more where the file goes on, and is refused where it does not', () => {
  const { bytes } = parseGguf(good);
  for (let end = 24; end < bytes; end++) {
    assert.throws(() => parseGguf(good.subarray(0, end), good.length), MoreNeeded);
    assert.throws(() => parseGguf(good.subarray(0, end)), { code: 'MODEL_FILE_INVALID' });
  }
  assert.throws(() => parseGguf(good.subarray(0, good.length - 32)), { code: 'MODEL_FILE_INVALID' });
});

test('a type that is not read is refused by the name that llama.cpp has for it', () => {
  const bytes = good.slice();
  const at = Buffer.from(bytes.buffer).indexOf(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0x61, 2, 0, 0, 0]));
  bytes[at + 13 + 16] = 10;
  assert.throws(() => parseGguf(bytes), {
    code: 'MODEL_TYPE_UNSUPPORTED',
    field: 'model.gguf[a]',
    message: /of the type Q2_K; known: F32, F16, Q4_0/,
  });
});

test('sizes that the file cannot hold are refused before anything is made for them', () => {
  const put = (at: number, value: bigint) => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setBigUint64(at, value, true);
    return bytes;
  };
  for (const value of [2n ** 64n - 1n, 2n ** 63n, 2n ** 53n, 10n ** 9n, 2n ** 31n]) {
    for (const at of [8, 16, 24])
      assert.throws(() => parseGguf(put(at, value)), { code: 'MODEL_FILE_INVALID' });
  }
  const strings =
    Buffer.from(good.buffer).indexOf('tokenizer.ggml.tokens') + 'tokenizer.ggml.tokens'.length + 8;
  assert.throws(() => parseGguf(put(strings, 2n ** 40n)), { code: 'MODEL_FILE_INVALID' });
});

test('10,000 mutated headers end in tensors that lie inside the file or in an error with a code', () => {
  const { bytes: headerBytes } = parseGguf(good);
  const interesting = fc.constantFrom(0, 1, 8, 9, 127, 128, 255);
  const change = fc.tuple(fc.nat({ max: headerBytes - 1 }), fc.oneof(interesting, fc.nat({ max: 255 })));
  const end = fc.oneof(fc.constant(good.length), fc.nat({ max: good.length }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), end, (changes, length) => {
      const bytes = good.slice(0, length);
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      try {
        checkHeader(parseGguf(bytes), bytes.length);
      } catch (error) {
        assert.ok(error instanceof OnebyteError && CODES.includes(error.code), String(error));
      }
    }),
    { numRuns: 10_000 },
  );
});
