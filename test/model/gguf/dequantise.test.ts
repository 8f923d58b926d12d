import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dequantise } from '../../../worker/model/gguf/dequantise.ts';
import { GGUF_TYPES, type GgufTypeName } from '../../../worker/model/gguf/types.ts';
import { weightAt } from '../../../worker/model/gguf/weight-at.ts';
import { missingPython, python } from '../python.ts';

const bits = (x: Float32Array): Uint32Array => new Uint32Array(x.buffer, x.byteOffset, x.length);
const names = Object.keys(GGUF_TYPES) as GgufTypeName[];

test('whole blocks of any bytes come out as the plain reference has each weight, bit for bit', () => {
  const any = fc.constantFrom(...names).chain((type) => {
    const { bytes } = GGUF_TYPES[type];
    return fc.tuple(
      fc.constant(type),
      fc
        .integer({ min: 0, max: 4 })
        .chain((n) => fc.uint8Array({ minLength: n * bytes, maxLength: n * bytes })),
      fc.nat({ max: 3 }),
    );
  });
  fc.assert(
    fc.property(any, ([type, blocks, shift]) => {
      const place = new Uint8Array(blocks.length + shift);
      place.set(blocks, shift);
      const count = (blocks.length / GGUF_TYPES[type].bytes) * GGUF_TYPES[type].weights;
      const out = new Float32Array(count);
      dequantise(type, place.subarray(shift), out);
      const reference = Float32Array.from({ length: count }, (_, i) => weightAt(type, blocks, i));
      // Any NaN is as good as any other.
      const plain = (x: Float32Array) => [...bits(x)].map((word, i) => (Number.isNaN(x[i]) ? -1 : word));
      assert.deepEqual(plain(out), plain(reference));
    }),
    { numRuns: 1000 },
  );
});

test("blocks that llama.cpp's own package wrote come out as it reads them, bit for bit", {
  skip: await missingPython(),
}, async () => {
  const script = `
import sys, json, base64, numpy as np
from gguf.quants import quantize, dequantize
from gguf.constants import GGMLQuantizationType as T
rng = np.random.default_rng(7)
out = {}
sizes = {'Q4_K': (144, [0, 2]), 'Q5_K': (176, [0, 2]), 'Q6_K': (210, [208])}
for name in sys.argv[1].split(','):
    if name in sizes: # the package reads these types, and writes none of them
        size, halves = sizes[name]
        q = rng.integers(0, 256, (8, size), dtype=np.uint8)
        for at in halves:
            q[:, at:at + 2] = (rng.random((8, 1)) * 0.01).astype(np.float16).view(np.uint8)
        q[0, halves[0]:halves[0] + 2] = 0
        enc = lambda a: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()
        out[name] = [enc(q), enc(dequantize(q, T[name]).astype(np.float32))]
        continue
    x = (rng.standard_normal((8, 256)) * np.exp(rng.standard_normal((8, 1)) * 3)).astype(np.float32)
    x[0, :32] = 0; x[1, :32] = 0.25
    q = quantize(x, T[name])
    enc = lambda a: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()
    out[name] = [enc(q), enc(dequantize(q, T[name]).astype(np.float32))]
print(json.dumps(out))
`;
  const made = (await python(script, names.join())) as Record<GgufTypeName, [string, string]>;
  for (const type of names) {
    const [blocks, expected] = made[type].map((text) => new Uint8Array(Buffer.from(text, 'base64')));
    const out = new Float32Array(8 * 256);
    dequantise(type, blocks!, out);
    assert.deepEqual(bits(out), new Uint32Array(expected!.slice().buffer), type);
  }
});
