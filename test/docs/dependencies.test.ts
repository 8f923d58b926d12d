import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, object>;
const [, ...sections] = readFileSync(join(root, 'docs/dependencies.md'), 'utf8').split('\n## ');

/** Names in the table of a section, each with a reason and an alternative. */
function listed(section: string): string[] {
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => {
      const [name, why, instead] = line
        .slice(2, -2)
        .split(' | ')
        .map((cell) => cell.trim());
      assert.match(why!, /^.{10,}\.$/, name);
      assert.match(instead!, /^.{4,}\.$/, name);
      return name!.slice(1, -1);
    });
}

for (const [i, kind] of ['dependencies', 'devDependencies', 'optionalDependencies'].entries())
  test(`docs/dependencies.md says why of all ${kind}, and of no others`, () => {
    assert.deepEqual(listed(sections[i]!), Object.keys(manifest[kind]!).sort());
  });

test('every dependency is pinned and imported by the product', () => {
  const sources = globSync('{worker,cli,operator,crds,charts,examples}/**/*.ts', { cwd: root }).map((file) =>
    readFileSync(join(root, file), 'utf8'),
  );
  for (const [name, version] of Object.entries(manifest.dependencies!)) {
    assert.match(version, /^\d+\.\d+\.\d+(-\S+)?$/, name);
    const imported = new RegExp(`['"]${name}(/[^'"]*)?['"]`);
    assert.ok(
      sources.some((source) => imported.test(source)),
      `${name} is imported nowhere`,
    );
  }
});
