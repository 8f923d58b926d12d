import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { Session } from '../../worker/engine/evaluators/session.ts';
import { loadPacked } from '../../worker/model/gguf/packed-file.ts';
import { openGguf } from '../../worker/model/gguf/source.ts';
import { GGUF_TYPES, type GgufTypeName } from '../../worker/model/gguf/types.ts';
import { OnnxWriter } from '../../worker/model/onnx.ts';
import { storedProduct, storedRows, storedWhole } from '../../worker/model/stored-graph.ts';
import { numbers, writeTiny } from './gguf/tiny.ts';
import { distance } from './session.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-stored-'));
after(() => rmSync(root, { recursive: true }));

const NAME = 'model.layers.1.mlp.down_proj.weight';

for (const type of Object.keys(GGUF_TYPES) as GgufTypeName[])
  test(`a weight of ${type} that stays in its file multiplies and gives rows as it does in memory`, async () => {
    const { weights } = await loadPacked(await openGguf(writeTiny(join(root, `${type}.gguf`), type)));
    const { dims, data, stored } = weights.get(NAME)!;
    const [out, width] = dims as [number, number];
    const onnx = new OnnxWriter();
    const weight = { name: NAME, dims, stored: stored! };
    const x = onnx.input('x', 'float32', [2, 'tokens', width]);
    const ids = onnx.input('ids', 'int32', ['examples', 2]);
    const named = (name: string, value: string, shape: (number | string)[]) => {
      onnx.node('Identity', [value], { outputs: [name] });
      onnx.output(name, 'float32', shape);
    };
    named(
      'product',
      storedProduct(onnx, weight, x, (_, make) => make()),
      [2, 'tokens', out],
    );
    named('rows', storedRows(onnx, weight, ids), ['examples', 2, width]);
    named('whole', storedWhole(onnx, weight), [out, width]);
    const session = await Session.open(onnx.finish('stored'), { threads: 1 });
    const random = numbers(4);
    const given = Float32Array.from({ length: 2 * 5 * width }, () => random() - 0.5);
    const results = await session.run({
      x: { data: given, dims: [2, 5, width] },
      ids: { data: Int32Array.of(3, 0, out - 1, 3, 7, 1), dims: [3, 2] },
    });
    await session.close();
    // Where there is a least value it is scale * code + least in the file, and scale * (code - zero) in the runtime.
    const near = /_1$|[45]_K$/.test(type) ? 6e-8 : 0;
    assert.ok(distance(results.whole!, data) <= near);
    const rows = [3, 0, out - 1, 3, 7, 1].flatMap((r) => [...data.subarray(r * width, (r + 1) * width)]);
    assert.ok(distance(results.rows!, rows) <= near);
    const product = Float32Array.from({ length: 10 * out }, (_, i) => {
      let sum = 0;
      const [row, o] = [Math.floor(i / out), i % out];
      for (let k = 0; k < width; k++) sum += given[row * width + k]! * data[o * width + k]!;
      return sum;
    });
    assert.ok(distance(results.product!, product) < 2e-6, `${distance(results.product!, product)}`);
  });

test('what is made of weights alone is written before all that rows go through', async () => {
  const { weights } = await loadPacked(await openGguf(writeTiny(join(root, 'order.gguf'), 'Q4_1')));
  const { dims, stored } = weights.get(NAME)!;
  const onnx = new OnnxWriter();
  const x = onnx.input('x', 'float32', [1, 'tokens', dims[1]!]);
  for (const i of [0, 1]) {
    const weight = { name: `${NAME}.${i}`, dims, stored: stored! };
    const value = storedProduct(onnx, weight, x, (_, make) => make());
    onnx.node('Identity', [value], { outputs: [`product${i}`] });
    onnx.output(`product${i}`, 'float32', [1, 'tokens', dims[0]!]);
  }
  const { node } = fromBinary(ModelProtoSchema, onnx.finish('order').bytes).graph!;
  const fed = new Set(['x']);
  const moves = node.map(({ input, output }) => {
    const fedSome = input.some((value) => fed.has(value));
    for (const value of fedSome ? output : []) fed.add(value);
    return fedSome;
  });
  assert.ok(moves.includes(false) && moves.includes(true));
  assert.deepEqual(moves, moves.toSorted());
});
