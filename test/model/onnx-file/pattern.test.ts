import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchesPattern } from '../../../worker/model/onnx-file/pattern.ts';

test('a star stands for any characters, everything else for itself', () => {
  assert.ok(matchesPattern('encoder.layer.5.*', 'encoder.layer.5.output.dense.weight'));
  assert.ok(!matchesPattern('encoder.layer.5.*', 'encoder.layer.50.output.dense.weight'));
  assert.ok(matchesPattern('*.weight', 'a.weight'));
  assert.ok(!matchesPattern('a*a', 'a'));
  assert.ok(matchesPattern('onnx::MatMul_1', 'onnx::MatMul_1'));
  assert.ok(!matchesPattern('onnx::MatMul_1', 'onnx::MatMul_12'));
});

test('any pattern matches what the regular expression of the same meaning matches', () => {
  const text = (letters: string, maxLength: number) =>
    fc.string({ unit: fc.constantFrom(...letters), maxLength });
  fc.assert(
    fc.property(text('ab.*', 8), text('ab.', 12), (pattern, name) => {
      const source = pattern.replaceAll('.', '[.]').replaceAll('*', '.*');
      assert.equal(matchesPattern(pattern, name), new RegExp(`^${source}$`).test(name));
    }),
    { numRuns: 5000 },
  );
});
