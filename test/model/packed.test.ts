import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { weightAt } from '../../worker/model/gguf/dequantise.ts';
import { GGUF_TYPES } from '../../worker/model/gguf/types.ts';
import { PACKED, type PackedTypeName, packBlocks, unpackRows } from '../../worker/model/packed.ts';

test('blocks of a GGUF file mean the same weights once they are packed, bit for bit', () => {
  const types = Object.keys(PACKED) as PackedTypeName[];
  const any = fc.constantFrom(...types).chain((type) => {
    const { bytes } = GGUF_TYPES[type];
    const blocks = fc.integer({ min: 1, max: 4 }).chain((n) =>
      fc.uint8Array({ minLength: n * bytes, maxLength: n * bytes }).map((made) => {
        // Scales that are numbers; now and then zero.
        for (let b = 0; b < n; b++) for (const at of [1, 3]) made[b * bytes + at]! &= 0x3f;
        if (made[0]! < 64) made[1] = made[0] = 0;
        return made;
      }),
    );
    return fc.tuple(fc.constant(type), blocks);
  });
  fc.assert(
    fc.property(any, ([type, blocks]) => {
      const { bits, zeros } = PACKED[type];
      const count = blocks.length / GGUF_TYPES[type].bytes;
      const each = () => new Float32Array(count + 1);
      const out = {
        codes: new Uint8Array((count + 1) * bits * 4),
        scales: each(),
        zeros: zeros ? each() : undefined,
      };
      packBlocks(type, blocks, 1, out);
      const found = new Float32Array(count * 32);
      const after = {
        codes: out.codes.subarray(bits * 4),
        scales: out.scales.subarray(1),
        zeros: out.zeros?.subarray(1),
      };
      unpackRows(bits, after, found);
      // Zero has no sign that anybody could see.
      for (let i = 0; i < found.length; i++)
        assert.ok(found[i] === weightAt(type, blocks, i), `${type} ${i}: ${found[i]}`);
    }),
    { numRuns: 1000 },
  );
});
