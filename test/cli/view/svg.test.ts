import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import pc from 'picocolors';
import { linesToSvg } from '../../../cli/view/svg.ts';
import { hostileText } from '../arbitrary.ts';
import { outline } from '../report/markup.ts';

const paint = pc.createColors(true);

/** Checks the markup and gives the texts in it. */
function parts(svg: string): string {
  return outline(`<!doctype html>\n${svg.replaceAll('viewBox', 'viewbox')}`).text;
}

test('text stands on a grid, charts are shapes, colours are kept', () => {
  const svg = linesToSvg([`${paint.bold('a')}  ${paint.red('b')}`, '⠑⢄━█▂│'], 'picture');
  assert.equal(parts(svg).replace(/\s+/g, ' ').trim(), 'picture a b');
  assert.match(svg, /font-weight="700"[^>]*>a</);
  assert.match(svg, /fill="#f47067"[^>]*>b</);
  assert.equal(svg.match(/<path/g)?.length, 1);
});

test('any text at all makes a well-formed picture', () => {
  fc.assert(
    fc.property(fc.array(hostileText, { maxLength: 5 }), hostileText, (lines, title) => {
      parts(linesToSvg(lines, title));
    }),
  );
});
