import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { validateFile } from '../../cli/validate.ts';

const manifest = (name: string): string => join(import.meta.dirname, '../crds/manifests', name);

test('a right job ends with 0 and one line', async () => {
  const path = manifest('right/smallest.yaml');
  assert.deepEqual(await validateFile(path), { code: 0, lines: [`${path}: sentiment is right`] });
});

test('each mistake is one line with place, path, what is wrong and what is allowed', async () => {
  const path = manifest('wrong/seed-negative.yaml');
  const { code, lines } = await validateFile(path, ['stop.rounds=many']);
  assert.equal(code, 2);
  assert.equal(lines.length, 2);
  assert.match(
    lines[0]!,
    /seed-negative\.yaml:\d+:\d+: spec\.seed: -1 is out of range \(allowed: a whole number from 0 to 4294967295\)$/,
  );
  assert.match(lines[1]!, /spec\.stop\.rounds: "many" is not a whole number/);
});

test('a file that is not there ends with 2 and one line', async () => {
  const { code, lines } = await validateFile(manifest('none.yaml'));
  assert.equal(code, 2);
  assert.match(lines.join('\n'), /none\.yaml: cannot be read: .*ENOENT/);
});
