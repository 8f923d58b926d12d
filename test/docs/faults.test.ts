import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');

test('each fault in docs/nats.md has a test of the name that is given there', () => {
  const [, section] = readFileSync(join(root, 'docs/nats.md'), 'utf8').split('\n## Faults, ');
  const rows = section!
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => line.startsWith('| '));
  const sources = globSync('test/{nats,service}/*.test.ts', { cwd: root })
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n');
  const [, , ...faults] = rows;
  assert.ok(faults.length > 10);
  for (const row of faults) {
    const names = [
      ...row
        .slice(2, -2)
        .split(' | ')
        .at(-1)!
        .matchAll(/`([^`]+)`/g),
    ].map(([, name]) => name!);
    assert.ok(names.length > 0, row);
    for (const name of names) assert.ok(sources.includes(`it('${name}'`), name);
  }
});
