import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..', '..');
const docs = join(root, 'docs');
const pages = readdirSync(docs)
  .filter((one) => one.endsWith('.md'))
  .map((name) => [name, readFileSync(join(docs, name), 'utf8')] as const);
/** Pages whose blocks marked `sh` a test runs, and that test. */
const RUN: Readonly<Record<string, string>> = { 'install.md': 'test/e2e/docs.e2e.ts' };

test('commands in docs/ are marked as run, by sh, only where a test runs them', () => {
  for (const [name, text] of pages) {
    const isMarked = /^```sh$/m.test(text);
    assert.equal(isMarked, name in RUN, name);
  }
  for (const [page, file] of Object.entries(RUN))
    assert.ok(readFileSync(join(docs, '..', file), 'utf8').includes(`'docs', '${page}'`), file);
});

test('a file that a page puts into a Secret was written before, on that page', () => {
  for (const [name, text] of pages)
    for (const { 1: file, index } of text.matchAll(/--from-file=\w+=(\S+)/g)) {
      const written = text.slice(0, index).matchAll(/(?:> |^cp \S+ )(\S+)/gm);
      assert.ok(
        [...written].some(([, one]) => one === file),
        `${name}: ${file}`,
      );
    }
});

test('a claim that an example mounts is made by what the same page applies', () => {
  for (const [name, text] of pages) {
    const applied = [...text.matchAll(/^(?=.*kubectl apply).*?(examples\/\S+[.]yaml)/gm)].map(([, path]) =>
      readFileSync(join(root, path!), 'utf8'),
    );
    const made = applied.flatMap((manifest) =>
      [...manifest.matchAll(/^kind: PersistentVolumeClaim\nmetadata: [{] name: (\S+) [}]/gm)].map(
        ([, claim]) => claim,
      ),
    );
    for (const manifest of applied)
      for (const [, claim] of manifest.matchAll(/claimName: (\S+)/g))
        assert.ok(made.includes(claim), `${name}: ${claim}`);
  }
});

test('a job that a page has people apply finds its data on a cluster', () => {
  for (const page of ['README.md', 'charts/onebyte/README.md', ...pages.map(([name]) => join('docs', name))])
    for (const [, path] of readFileSync(join(root, page), 'utf8').matchAll(
      /kubectl apply -f (examples\/\S+)/g,
    )) {
      const manifest = readFileSync(join(root, path!), 'utf8');
      // A path is one below the folder that a worker has its data in.
      if (/\buri: (?![a-z0-9]+:\/\/)/.test(manifest))
        assert.match(manifest, /mountPath: \/data\b/, `${page}: ${path}`);
    }
});
