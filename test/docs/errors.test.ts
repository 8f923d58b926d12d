import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodeOf } from '../../cli/print.ts';
import { ERROR_CODES, OnebyteError } from '../../worker/errors.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  );

test('docs/errors.md lists every code there is, and no other, in order', () => {
  assert.deepEqual(
    rows.map(([code]) => code!.slice(1, -1)),
    [...ERROR_CODES],
  );
  assert.deepEqual([...ERROR_CODES], [...ERROR_CODES].sort());
});

test('docs/errors.md gives the exit code of each error, what it means and what to do', () => {
  for (const [code, exit, meaning, remedy] of rows) {
    const error = new OnebyteError(code!.slice(1, -1) as (typeof ERROR_CODES)[number], 'wrong');
    assert.equal(Number(exit), exitCodeOf(error), code);
    for (const cell of [meaning, remedy]) assert.match(cell!, /^.{8,}\.$/, code);
  }
});
