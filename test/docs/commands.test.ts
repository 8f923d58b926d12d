import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const docs = join(root, 'docs');
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

test('a job that a page has people apply finds its data on a cluster', () => {
  const pages = readdirSync(docs).map((name) => join('docs', name));
  for (const page of ['README.md', 'charts/onebyte/README.md', ...pages].filter((one) => one.endsWith('.md')))
    for (const [, path] of readFileSync(join(root, page), 'utf8').matchAll(
      /kubectl apply -f (examples\/\S+)/g,
    )) {
      const manifest = readFileSync(join(root, path!), 'utf8');
      // A path is one below the folder that a worker has its data in.
      if (/\buri: (?![a-z0-9]+:\/\/)/.test(manifest))
        assert.match(manifest, /mountPath: \/data\b/, `${page}: ${path}`);
    }
});
