import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OnebyteError } from '../../worker/errors.ts';
import { readSafetensors, writeSafetensors } from '../../worker/model/safetensors.ts';
import type { TensorView } from '../../worker/model/tensor.ts';

const invalid = { code: 'MODEL_FILE_INVALID' };

/** A file with any header, and a data part of `dataBytes`. */
function fileOf(header: unknown, dataBytes: number, stated?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, stated ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const tensor = fc
  .array(fc.nat({ max: 5 }), { maxLength: 3 })
  .chain((dims) => {
    const size = dims.reduce((a, b) => a * b, 1);
    return fc.tuple(fc.constant(dims), fc.array(fc.float(), { minLength: size, maxLength: size }));
  })
  .map(([dims, data]): TensorView => ({ dims, data: Float32Array.from(data) }));
const name = fc
  .string({ minLength: 1, maxLength: 12 })
  .filter((s) => !['__metadata__', '__proto__'].includes(s));

test('what was written is read again, bit for bit', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, tensor), { maxLength: 6 }), (entries) => {
      const tensors = new Map(entries);
      const read = readSafetensors(writeSafetensors(tensors));
      assert.deepEqual([...read.keys()].sort(), [...tensors.keys()].sort());
      for (const [key, { dims, data }] of tensors) {
        assert.deepEqual(read.get(key)!.dims, dims);
        const bits = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);
        assert.deepEqual(bits(read.get(key)!.data), bits(data));
      }
    }),
  );
});

test('float32 tensors are views of the file, also where it does not lie at a multiple of four', () => {
  const file = writeSafetensors(new Map([['w', { dims: [2], data: Float32Array.of(1.5, -2) }]]));
  assert.equal(readSafetensors(file).get('w')!.data.buffer, file.buffer);
  const shifted = new Uint8Array(file.length + 1);
  shifted.set(file, 1);
  assert.deepEqual([...readSafetensors(shifted.subarray(1)).get('w')!.data], [1.5, -2]);
});

test('half and bfloat16 are widened exactly, and whole numbers left out', () => {
  const header = {
    half: { dtype: 'F16', shape: [3], data_offsets: [0, 6] },
    brain: { dtype: 'BF16', shape: [1, 3], data_offsets: [6, 12] },
    ids: { dtype: 'I64', shape: [1], data_offsets: [12, 20] },
  };
  const file = fileOf(header, 20);
  const view = new DataView(file.buffer, file.length - 20);
  [0x3c00, 0xc000, 0x0001].forEach((word, i) => {
    view.setUint16(2 * i, word, true);
  });
  [0x3f80, 0xc000, 0x0001].forEach((word, i) => {
    view.setUint16(6 + 2 * i, word, true);
  });
  const tensors = readSafetensors(file);
  assert.deepEqual([...tensors.get('half')!.data], [1, -2, 2 ** -24]);
  assert.deepEqual([...tensors.get('brain')!.data], [1, -2, 2 ** -133]);
  assert.deepEqual(tensors.get('brain')!.dims, [1, 3]);
  assert.equal(tensors.has('ids'), false);
});

test('an absurd header size is refused before anything is allocated', () => {
  for (const stated of [2n ** 64n - 1n, 2n ** 63n, 10n ** 9n, 3n]) {
    assert.throws(() => readSafetensors(fileOf('{}', 0, stated)), invalid);
  }
  assert.throws(() => readSafetensors(new Uint8Array(0)), invalid);
  assert.throws(() => readSafetensors(new Uint8Array(7)), invalid);
});

test('entries that overlap, reach outside, or do not fill their bytes are refused by name', () => {
  const entry = (
    begin: number,
    end: number,
    shape: unknown = [(end - begin) / 4],
    dtype: unknown = 'F32',
  ) => ({
    dtype,
    shape,
    data_offsets: [begin, end],
  });
  const wrong: Record<string, unknown>[] = [
    { a: entry(0, 8), b: entry(4, 12) },
    { a: entry(0, 12), b: entry(4, 8) },
    { b: entry(8, 20) },
    { b: entry(8, 4) },
    { b: entry(0, 8, [3]) },
    { b: entry(0, 8, [-2]) },
    { b: entry(0, 8, [2.5]) },
    { b: entry(0, 8, [2 ** 40, 2 ** 40]) },
    { b: entry(0, 8, 'x') },
    { b: entry(0, 8, [2], 'F4') },
    { b: { dtype: 'F32', shape: [2], data_offsets: [0] } },
    { b: { dtype: 'F32', shape: [2], data_offsets: [0, 2 ** 60] } },
    { b: null },
    { b: 7 },
  ];
  for (const header of wrong) {
    assert.throws(
      () => readSafetensors(fileOf(header, 12)),
      (error) => error instanceof OnebyteError && error.code === invalid.code && error.field!.includes('b'),
    );
  }
  for (const header of ['[]', 'null', '{', '"x"', '\ufffd']) {
    assert.throws(() => readSafetensors(fileOf(header, 12)), invalid);
  }
});

test('a mutated header ends in tensors that lie inside the file or in an error with a code', () => {
  const tensors = new Map([
    ['first', { dims: [2, 3], data: Float32Array.from([1, 2, 3, 4, 5, 6]) }],
    ['second', { dims: [4], data: Float32Array.from([1, 2, 3, 4]) }],
  ]);
  const good = writeSafetensors(tensors);
  const change = fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 }));
  fc.assert(
    fc.property(
      fc.array(change, { minLength: 1, maxLength: 4 }),
      fc.nat({ max: good.length }),
      (changes, end) => {
        const bytes = good.slice(0, end);
        for (const [at, value] of changes) if (at < end) bytes[at] = value;
        try {
          for (const { dims, data } of readSafetensors(bytes).values()) {
            assert.ok(data.byteLength <= bytes.length);
            assert.equal(
              data.length,
              dims.reduce((a, b) => a * b, 1),
            );
          }
        } catch (error) {
          assert.ok(error instanceof OnebyteError && error.code === invalid.code, String(error));
        }
      },
    ),
    { numRuns: 10_000 },
  );
});
