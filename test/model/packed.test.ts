import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GGUF_TYPES } from '../../worker/model/gguf/types.ts';
import { weightAt } from '../../worker/model/gguf/weight-at.ts';
import {
  PACKED,
  type PackedTypeName,
  packBlocks,
  packedRows,
  unpackRows,
} from '../../worker/model/packed.ts';

/** Where a block has half-precision numbers. */
function halves(type: PackedTypeName): number[] {
  if (type === 'Q6_K') return [208];
  return PACKED[type].least ? [0, 2] : [0];
}

test('blocks of a GGUF file mean the same weights once they are packed, bit for bit', () => {
  const types = Object.keys(PACKED) as PackedTypeName[];
  const any = fc.constantFrom(...types).chain((type) => {
    const { bytes } = GGUF_TYPES[type];
    const blocks = fc.integer({ min: 1, max: 4 }).chain((n) =>
      fc.uint8Array({ minLength: n * bytes, maxLength: n * bytes }).map((made) => {
        // Scales that are numbers; now and then zero.
        for (let b = 0; b < n; b++) for (const at of halves(type)) made[b * bytes + at + 1]! &= 0x3f;
        const first = halves(type)[0]!;
        if (made[first]! < 64) made[first + 1] = made[first] = 0;
        return made;
      }),
    );
    return fc.tuple(fc.constant(type), blocks);
  });
  fc.assert(
    fc.property(any, ([type, blocks]) => {
      const { bits, size, least } = PACKED[type];
      const { weights, bytes } = GGUF_TYPES[type];
      const count = (blocks.length / bytes) * weights;
      const out = packedRows(type, count + weights);
      packBlocks(type, blocks, weights, out);
      const found = new Float32Array(count);
      const after = {
        codes: out.codes.subarray((weights * bits) / 8),
        scales: out.scales.subarray(weights / size),
        least: out.least?.subarray(weights / size),
      };
      assert.equal(out.least !== undefined, least);
      unpackRows(PACKED[type], after, found);
      // Zero has no sign that anybody could see.
      for (let i = 0; i < found.length; i++)
        assert.ok(found[i] === weightAt(type, blocks, i), `${type} ${i}: ${found[i]}`);
    }),
    { numRuns: 1000 },
  );
});
