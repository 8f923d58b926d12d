import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { checkJob, parseJobFile } from '../../crds/validate.ts';

/** Manifests name the mistakes that they hold, in comments: a line `# path:` and a line `# message:` for each. */
function manifests(
  kind: string,
): { name: string; text: string; expected: { path: string; message: string }[] }[] {
  const folder = new URL(`manifests/${kind}/`, import.meta.url);
  return readdirSync(folder).map((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8');
    const found = [...text.matchAll(/^# path: (.*)\n# message: (.*)$/gm)];
    return { name, text, expected: found.map(([, path, message]) => ({ path: path!, message: message! })) };
  });
}

describe('wrong manifests', () => {
  const wrong = manifests('wrong');
  test('there are at least forty', () => assert.ok(wrong.length >= 40));
  for (const { name, text, expected } of wrong) {
    test(`${name} is refused with the path and the message that it names`, () => {
      const { job, mistakes } = parseJobFile(text);
      assert.equal(job, undefined);
      assert.deepEqual(
        mistakes.map(({ path, message }) => ({ path, message })),
        expected,
      );
      for (const { line } of mistakes) assert.ok(line! > 0);
    });
  }
});

describe('right manifests', () => {
  for (const { name, text } of manifests('right')) {
    test(`${name} is taken, and taken again with its defaults filled in`, () => {
      const { job, mistakes } = parseJobFile(text);
      assert.deepEqual(mistakes, []);
      const again = structuredClone(job);
      assert.deepEqual(checkJob(again), []);
      assert.deepEqual(again, job);
    });
  }
});

describe('updates', () => {
  for (const { name, text, expected } of manifests('update')) {
    test(`${name} is judged by what changes`, () => {
      const [before, after] = parseAllDocuments(text).map((document) => document.toJS());
      assert.deepEqual(checkJob(before), []);
      const mistakes = checkJob(after, before);
      assert.deepEqual(mistakes, expected);
    });
  }
});
