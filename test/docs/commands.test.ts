import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const docs = join(import.meta.dirname, '..', '..', 'docs');
/** Pages whose blocks marked `sh` a test runs, and that test. */
const RUN: Readonly<Record<string, string>> = { 'install.md': 'test/e2e/docs.e2e.ts' };

test('commands in docs/ are marked as run, by sh, only where a test runs them', () => {
  for (const name of readdirSync(docs).filter((one) => one.endsWith('.md'))) {
    const isMarked = /^```sh$/m.test(readFileSync(join(docs, name), 'utf8'));
    assert.equal(isMarked, name in RUN, name);
  }
  for (const [page, file] of Object.entries(RUN))
    assert.ok(readFileSync(join(docs, '..', file), 'utf8').includes(`'docs', '${page}'`), file);
});
