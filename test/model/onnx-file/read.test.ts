import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { type ModelProto, ModelProtoSchema, TensorProtoSchema } from 'onnx-buf';
import { OnebyteError } from '../../../worker/errors.ts';
import { parseOnnx, readOnnx } from '../../../worker/model/onnx-file/read.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-onnx-'));
after(() => rmSync(root, { recursive: true }));

type Tensor = MessageInitShape<typeof TensorProtoSchema>;

function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Float32Array.from({ length: length / 4 }, (_, i) => i / 7).buffer);
}

const external = (location: string, offset: number, length: number): Tensor => ({
  dataLocation: 1,
  externalData: [
    { key: 'location', value: location },
    { key: 'offset', value: String(offset) },
    { key: 'length', value: String(length) },
  ],
});

function model(
  initializer: readonly Tensor[],
  change: Partial<Pick<ModelProto, 'irVersion'>> & { opset?: bigint } = {},
) {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: change.irVersion ?? 8n,
      producerName: 'test',
      opsetImport: [{ domain: '', version: change.opset ?? 17n }],
      graph: {
        name: 'g',
        node: [{ opType: 'MatMul', name: 'n', input: ['x', 'w'], output: ['y'] }],
        initializer: [...initializer],
        input: [{ name: 'x' }],
        output: [{ name: 'y' }],
      },
    }),
  );
}

let count = 0;
function put(bytes: Uint8Array): string {
  const path = join(root, `${count++}.onnx`);
  writeFileSync(path, bytes);
  return path;
}

const w: Tensor = { name: 'w', dims: [32n, 16n], dataType: 1, rawData: bytesOf(2048) };

test('numbers of weights stay in the file, and their place is known', () => {
  const small: Tensor = { name: 'small', dims: [2n], dataType: 1, floatData: [1, 2] };
  const listed: Tensor = {
    name: 'listed',
    dims: [300n],
    dataType: 1,
    floatData: Array.from({ length: 300 }, (_, i) => i),
  };
  const bytes = model([small, w, listed]);
  const { initializers, opset, graph } = readOnnx(put(bytes));
  assert.equal(opset, 17);
  assert.equal(graph.node[0]!.opType, 'MatMul');
  assert.deepEqual([...initializers.keys()], ['small', 'w', 'listed']);
  assert.equal(initializers.get('small')!.place, undefined);
  assert.deepEqual(initializers.get('small')!.tensor.floatData, [1, 2]);
  const at = (name: string) => {
    const { offset, bytes: length } = initializers.get(name)!.place!;
    return bytes.slice(offset, offset + length);
  };
  assert.deepEqual(at('w'), bytesOf(2048));
  assert.equal(new Float32Array(at('listed').buffer)[299], 299);
  assert.equal(initializers.get('w')!.tensor.rawData.length, 0);
});

test('weights in files beside the model are found, and nowhere else', () => {
  const folder = join(root, 'beside');
  mkdirSync(join(folder, 'weights'), { recursive: true });
  writeFileSync(join(folder, 'weights', 'a.bin'), new Uint8Array(3000));
  writeFileSync(join(root, 'outside.bin'), new Uint8Array(3000));
  symlinkSync(join(root, 'outside.bin'), join(folder, 'link.bin'));
  const read = (tensor: Tensor) => {
    const path = join(folder, 'm.onnx');
    writeFileSync(path, model([{ name: 'w', dims: [32n, 16n], dataType: 1, ...tensor }]));
    return readOnnx(path).initializers.get('w')!.place!;
  };
  const found = read(external('weights/a.bin', 64, 2048));
  assert.ok(found.path.endsWith('/weights/a.bin'));
  assert.deepEqual([found.offset, found.bytes], [64, 2048]);
  const wrong: [string, number, number, string][] = [
    ['../outside.bin', 0, 2048, 'MODEL_FILE_INVALID'],
    ['weights/../../outside.bin', 0, 2048, 'MODEL_FILE_INVALID'],
    [join(root, 'outside.bin'), 0, 2048, 'MODEL_FILE_INVALID'],
    ['link.bin', 0, 2048, 'MODEL_FILE_INVALID'],
    ['..', 0, 2048, 'MODEL_FILE_INVALID'],
    ['', 0, 2048, 'MODEL_FILE_INVALID'],
    ['weights/none.bin', 0, 2048, 'MODEL_FILE_MISSING'],
    ['weights/a.bin', 1000, 2048, 'MODEL_FILE_INVALID'],
    ['weights/a.bin', -4, 2048, 'MODEL_FILE_INVALID'],
    ['weights/a.bin', 2 ** 60, 2048, 'MODEL_FILE_INVALID'],
    ['weights/a.bin', 0, 2044, 'MODEL_FILE_INVALID'],
  ];
  for (const [location, offset, length, code] of wrong)
    assert.throws(() => read(external(location, offset, length)), { code, field: 'm.onnx[w]' }, location);
});

test('versions and shapes that are not known are refused by name', () => {
  const refused = (bytes: Uint8Array, code: string, message: RegExp) =>
    assert.throws(() => readOnnx(put(bytes)), { code, message });
  refused(model([w], { irVersion: 99n }), 'MODEL_TYPE_UNSUPPORTED', /IR version is 99; known: 3 to 13/);
  refused(model([w], { opset: 9n }), 'MODEL_TYPE_UNSUPPORTED', /operator set is 9; known: 11 to/);
  refused(model([{ ...w, dims: [32n, 17n] }]), 'MODEL_FILE_INVALID', /2048 bytes, and the shape \[32,17\]/);
  refused(model([{ ...w, dims: [-32n, -16n] }]), 'MODEL_FILE_INVALID', /shape/);
  refused(model([{ ...w, dims: [2n ** 40n, 2n ** 40n] }]), 'MODEL_FILE_INVALID', /shape/);
  refused(model([w, w]), 'MODEL_FILE_INVALID', /twice/);
  refused(model([{ ...w, floatData: Array(512).fill(1) }]), 'MODEL_FILE_INVALID', /two lists/);
  refused(new Uint8Array(0), 'MODEL_FILE_INVALID', /no graph/);
  refused(new TextEncoder().encode('{"not": "onnx"}'), 'MODEL_FILE_INVALID', /./);
});

test('10,000 mutated files end in weights that lie inside the file or in an error with a code', () => {
  const good = model([
    w,
    { ...w, name: 'v' },
    { name: 'e', dims: [4n, 4n], dataType: 1, ...external('x.bin', 0, 64) },
  ]);
  writeFileSync(join(root, 'x.bin'), new Uint8Array(64));
  const path = join(root, 'mutated.onnx');
  const data = [...new Array(good.length).keys()].filter(
    (at) => at < 120 || at > good.length - 250 || at % 97 === 0,
  );
  // Mostly where the structure is, not the numbers.
  const places = fc.constantFrom(...data);
  const change = fc.tuple(places, fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat({ max: 255 })));
  const end = fc.oneof(fc.constant(good.length), fc.nat({ max: good.length }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), end, (changes, length) => {
      const bytes = good.slice(0, length);
      for (const [at, value] of changes) if (at < length) bytes[at] = value;
      const readAt = (into: Uint8Array, at: number) => {
        const part = bytes.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      };
      try {
        const { initializers } = parseOnnx(readAt, length, path, 'mutated.onnx');
        for (const { dims, place } of initializers.values()) {
          assert.ok(Number.isSafeInteger(dims.reduce((a, b) => a * b, 1)));
          if (place?.path.endsWith('mutated.onnx')) assert.ok(place.offset + place.bytes <= length);
        }
      } catch (error) {
        assert.ok(error instanceof OnebyteError, String(error));
        assert.ok(/^MODEL_(FILE_INVALID|FILE_MISSING|TYPE_UNSUPPORTED)$/.test(error.code), error.code);
      }
    }),
    { numRuns: 10_000 },
  );
});

test('a model that was read and written again is the same but for its numbers', () => {
  const bytes = model([w]);
  const { model: read } = readOnnx(put(bytes));
  const whole = fromBinary(ModelProtoSchema, bytes);
  const { name, dims, dataType } = whole.graph!.initializer[0]!;
  whole.graph!.initializer[0] = create(TensorProtoSchema, { name, dims, dataType });
  assert.deepEqual(toBinary(ModelProtoSchema, read), toBinary(ModelProtoSchema, whole));
});
