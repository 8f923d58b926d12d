import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chunksByLength, padBatch } from '../../worker/task/batch.ts';
import type { Examples } from '../../worker/task/examples.ts';

const examplesOf = (lengths: readonly number[]): Examples => ({
  ids: lengths.map((length, row) => new Int32Array(length).fill(row + 1)),
  labels: Int32Array.from(lengths, (_, row) => row % 3),
  truncated: 0,
});
const anyLengths = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 50 });

test('a batch is padded to its own longest row and masked there', () => {
  const batch = padBatch(examplesOf([2, 9, 1]), [2, 0], 7);
  assert.equal(batch.tokens, 2);
  assert.deepEqual([...batch.ids], [3, 7, 1, 1]);
  assert.deepEqual([...batch.mask], [1, 0, 1, 1]);
  assert.deepEqual([...batch.labels], [2, 0]);
});

test('chunks hold every position once, none is over the size, and lengths do not overlap', () => {
  fc.assert(
    fc.property(anyLengths, fc.integer({ min: 1, max: 20 }), (lengths, size) => {
      const rows = lengths.map((_, i) => lengths.length - 1 - i);
      const chunks = chunksByLength(examplesOf(lengths), rows, { rows: size });
      assert.deepEqual(
        chunks.flatMap((c) => [...c]).sort((a, b) => a - b),
        [...rows.keys()],
      );
      assert.equal(chunks.length, Math.ceil(rows.length / size));
      const of = (chunk: Int32Array) => [...chunk].map((position) => lengths[rows[position]!]!);
      for (const [i, chunk] of chunks.entries()) {
        assert.ok(chunk.length >= 1 && chunk.length <= size);
        if (i > 0) assert.ok(Math.max(...of(chunk)) <= Math.min(...of(chunks[i - 1]!)));
      }
    }),
  );
});

test('no rows make no chunks', () => {
  assert.deepEqual(chunksByLength(examplesOf([1]), [], { rows: 16 }), []);
});
