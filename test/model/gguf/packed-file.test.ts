import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadPacked } from '../../../worker/model/gguf/packed-file.ts';
import { openGguf } from '../../../worker/model/gguf/source.ts';
import { GGUF_TYPES, type GgufTypeName } from '../../../worker/model/gguf/types.ts';
import { loadWeights } from '../../../worker/model/source.ts';
import { TINY, writeTiny } from './tiny.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-packed-'));
after(() => rmSync(root, { recursive: true }));

for (const type of Object.keys(GGUF_TYPES) as GgufTypeName[])
  test(`weights of ${type} that are left in a file are those of the GGUF file, bit for bit`, async () => {
    const path = writeTiny(join(root, `${type}.gguf`), type);
    const file = await openGguf(path);
    const packed = await loadPacked(file);
    const whole = await loadWeights(file.source);
    assert.equal(packed.digest, whole.digest);
    assert.deepEqual([...packed.weights.keys()].sort(), [...whole.weights.keys()].sort());
    for (const [name, { dims, data }] of whole.weights) {
      const view = packed.weights.get(name)!;
      assert.deepEqual(view.dims, dims);
      assert.deepEqual(view.data, data, name);
      assert.equal(view.stored === undefined, dims.length === 1, name);
    }
  });

test('the file is written once, and again when it is not of this model', async () => {
  const path = writeTiny(join(root, 'again.gguf'), 'Q4_1');
  const packed = `${path}.packed`;
  const load = async () => loadPacked(await openGguf(path));
  await load();
  const first = statSync(packed).ino;
  await load();
  assert.equal(statSync(packed).ino, first);
  appendFileSync(packed, 'x');
  await load();
  const second = statSync(packed).ino;
  assert.notEqual(second, first);
  writeTiny(path, 'Q4_1', { ...TINY, layers: 1 });
  const { weights } = await load();
  assert.notEqual(statSync(packed).ino, second);
  assert.equal(weights.get('model.layers.0.mlp.up_proj.weight')!.data.length, 64 * 96);
  assert.deepEqual(
    readdirSync(root).filter((name) => name.startsWith('again.gguf')),
    ['again.gguf', 'again.gguf.packed'],
  );
});

test('a folder that cannot be written to has its file in the temporary folder', {
  skip: process.getuid?.() === 0 && 'root may write everywhere',
}, async () => {
  const folder = join(root, 'fixed');
  mkdirSync(folder);
  const path = writeTiny(join(folder, 'x.gguf'), 'Q4_0');
  chmodSync(folder, 0o500);
  const { weights } = await loadPacked(await openGguf(path));
  assert.ok(weights.get('model.embed_tokens.weight')!.data.length > 0);
  assert.deepEqual(readdirSync(folder), ['x.gguf']);
  chmodSync(folder, 0o700);
});
