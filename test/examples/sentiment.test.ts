import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { sourcesFor } from '../../crds/job-spec.ts';
import { parseJobFile } from '../../crds/validate.ts';
import { makeFromPackage } from '../../examples/sentiment/make-data.ts';
import { loadRows } from '../../worker/data/rows.ts';

const folder = join(import.meta.dirname, '../../examples/sentiment');
const data = join(folder, 'data');
const names = readdirSync(data).filter((name) => name.endsWith('.jsonl'));
const read = (name: string): { id: string; text: string; label?: string }[] =>
  readFileSync(join(data, name), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const key = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();

describe('the sentiment data', () => {
  test('no text is in two splits, nor twice in one, nor in the calibration text', () => {
    const seen = new Map<string, string>();
    for (const name of names.filter((name) => !name.includes('-64'))) {
      for (const { text } of read(name)) {
        assert.equal(seen.get(key(text)), undefined, `${text} in ${name}`);
        seen.set(key(text), name);
      }
    }
  });

  test('the few-shot files are 32 training rows of each label', () => {
    for (const domain of ['movies', 'products', 'news', 'tweets']) {
      const rows = read(`${domain}-64.jsonl`);
      assert.equal(rows.length, 64);
      assert.equal(rows.filter(({ label }) => label === 'positive').length, 32);
      const train = new Set(read(`${domain}-train.jsonl`).map(({ id }) => id));
      assert.ok(rows.every(({ id }) => train.has(id)));
    }
  });

  test('labels are those of the job, and the calibration text has none', () => {
    for (const name of names) {
      const labels = new Set(read(name).map(({ label }) => label));
      const expected = name === 'calibration.jsonl' ? [undefined] : ['negative', 'positive'];
      assert.deepEqual([...labels].sort(), expected, name);
    }
  });

  describe('made again from the package', () => {
    let made: Record<string, string> | Error;
    before(async () => {
      const pip = spawnSync('python3', ['-m', 'pip', '--version']);
      made = pip.status === 0 ? await makeFromPackage().catch((error: Error) => error) : new Error('no pip');
    });
    test('every file is what the script makes', (t) => {
      if (made instanceof Error) return t.skip(`the source archive cannot be had: ${made.message}`);
      assert.deepEqual(Object.keys(made).sort(), names.sort());
      for (const name of names) assert.equal(readFileSync(join(data, name), 'utf8'), made[name], name);
    });
  });
});

describe('the sentiment jobs', () => {
  const jobs = readdirSync(folder).filter(
    (name) =>
      name.endsWith('.yaml') && readFileSync(join(folder, name), 'utf8').includes('kind: FineTuneJob'),
  );
  for (const name of jobs) {
    test(`${name} is a right job, and every source in it has rows with a text and a label`, async () => {
      const { job, mistakes } = parseJobFile(readFileSync(join(folder, name), 'utf8'));
      assert.deepEqual(mistakes, []);
      for (const group of job!.spec.groups?.map(({ name }) => name) ?? ['']) {
        for (const sources of Object.values(sourcesFor(job!.spec, group))) {
          for (const source of sources) {
            const rows = await loadRows(source, { folder });
            assert.ok(
              rows.every(({ text, label }) => text && job!.spec.task.labels!.includes(String(label))),
            );
          }
        }
      }
      for (const { scope } of job!.spec.method.plan) {
        if (scope.basis.calibration)
          assert.ok((await loadRows(scope.basis.calibration, { folder })).length >= 512);
      }
    });
  }
});
