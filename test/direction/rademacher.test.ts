import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { philox } from '../../worker/direction/philox.ts';
import { addDirection, sign } from '../../worker/direction/rademacher.ts';

const word = fc.nat(0xffffffff);
const seeds = fc.tuple(word, word, word, word);

test('signs are the documented bits of the documented blocks', () => {
  const seed = [1, 2, 3, 4];
  for (let group = 0; group < 2; group++)
    for (let lane = 0; lane < 4; lane++) {
      const block = philox(4 * group + lane, 9, 3, 4, 1, 2);
      for (let k = 0; k < 4; k++)
        for (let s = 0; s < 32; s++) {
          const bit = (block[k]! >>> (31 - s)) & 1;
          assert.equal(sign(seed, 9, group * 512 + (k * 32 + s) * 4 + lane), bit === 1 ? -1 : 1);
        }
    }
});

test('adding a direction adds its sign, element by element', () => {
  fc.assert(
    fc.property(seeds, fc.nat(1000), fc.integer({ min: 1, max: 1400 }), (seed, tensor, size) => {
      const view = new Float32Array(size);
      addDirection(view, tensor, seed, 0.25);
      for (let i = 0; i < size; i += 7) assert.equal(view[i], 0.25 * sign(seed, tensor, i));
    }),
    { numRuns: 20 },
  );
});

test('signs are balanced and two directions are uncorrelated', () => {
  const size = 65_536;
  const a = new Float32Array(size);
  const b = new Float32Array(size);
  addDirection(a, 0, [1, 0, 0, 0], 1);
  addDirection(b, 1, [1, 0, 0, 0], 1);
  const mean = a.reduce((sum, x) => sum + x, 0) / size;
  const dot = a.reduce((sum, x, i) => sum + x * b[i]!, 0) / size;
  // Five standard deviations of a mean of `size` signs.
  assert.ok(Math.abs(mean) < 5 / Math.sqrt(size), `mean ${mean}`);
  assert.ok(Math.abs(dot) < 5 / Math.sqrt(size), `correlation ${dot}`);
});
