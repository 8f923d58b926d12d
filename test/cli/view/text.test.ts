import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import pc from 'picocolors';
import { clip, clipStyled, columns, left, printable, right } from '../../../cli/view/text.ts';
import { hostileText } from '../arbitrary.ts';

test('wide characters count two columns, combining ones none, colour codes none', () => {
  assert.equal(columns('abc'), 3);
  assert.equal(columns('漢字'), 4);
  assert.equal(columns('e\u0301'), 1);
  assert.equal(columns('👩‍👩‍👧‍👦'), 2);
  assert.equal(columns('🇩🇪'), 2);
  assert.equal(columns(pc.createColors(true).bold('abc')), 3);
});

test('printable text holds no control character, no line break and no mark that reorders', () => {
  assert.equal(printable('a\x1b[31mb\nc\u202ed\x07'), 'ab cd');
  fc.assert(
    fc.property(hostileText, (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must be gone
      assert.doesNotMatch(printable(text), /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/);
    }),
  );
});

test('padding gives exactly the asked width, clipping never more', () => {
  fc.assert(
    fc.property(hostileText, fc.integer({ min: 0, max: 40 }), (hostile, width) => {
      const text = printable(hostile);
      assert.equal(columns(left(text, width)), width);
      assert.equal(columns(right(text, width)), width);
      assert.ok(columns(clip(text, width)) <= width);
      const paint = pc.createColors(true);
      assert.ok(columns(clipStyled(`${paint.bold(text)}${paint.red(text)}`, width)) <= width);
    }),
  );
});
