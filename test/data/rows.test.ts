import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { loadRows } from '../../worker/data/rows.ts';
import type { OnebyteError } from '../../worker/errors.ts';
import type { SourceSpec } from '../../worker/journal/job.ts';
import { serve } from './server.ts';

const folder = mkdtempSync(join(tmpdir(), 'onebyte-test-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function put(extension: string, content: string | Uint8Array): string {
  const name = `file-${files++}.${extension}`;
  writeFileSync(join(folder, name), content);
  return name;
}
const load = (source: SourceSpec): Promise<unknown[]> => loadRows(source, { folder });
const fails = (source: SourceSpec, code: string, ...words: RegExp[]): Promise<void> =>
  assert.rejects(load(source), (error: OnebyteError) => {
    assert.equal(error.code, code);
    for (const word of words) assert.match(error.message, word);
    return true;
  });

const ROWS = [
  { text: 'a, "b"\nc', stars: '3' },
  { text: 'naïve \u2028 line', stars: '5' },
];

describe('formats', () => {
  test('JSONL, with and without a last line feed, with Windows line ends and empty lines', async () => {
    for (const end of ['\n', '\r\n', '\n\n']) {
      const text = ROWS.map((row) => JSON.stringify(row)).join(end);
      assert.deepEqual(await load({ uri: put('jsonl', text) }), ROWS);
      assert.deepEqual(await load({ uri: put('ndjson', text + end) }), ROWS);
    }
    assert.deepEqual(await load({ uri: put('jsonl', `\ufeff${JSON.stringify(ROWS[0])}`) }), [ROWS[0]]);
  });

  test('CSV with quotes, line ends inside them and a byte order mark', async () => {
    const text = `\ufefftext,stars\n"a, ""b""\nc",3\nnaïve \u2028 line,5\n`;
    assert.deepEqual(await load({ uri: put('csv', text) }), ROWS);
  });

  test('Parquet, compressed or not, in several row groups', async () => {
    const text = Array.from({ length: 100 }, (_, i) => `row ${i}`);
    const columnData = [
      { name: 'text', data: text, type: 'STRING' as const },
      { name: 'stars', data: text.map((_, i) => BigInt(i)), type: 'INT64' as const },
      { name: 'at', data: text.map((_, i) => new Date(i * 1000)), type: 'TIMESTAMP' as const },
    ];
    for (const codec of ['UNCOMPRESSED', 'SNAPPY'] as const) {
      const bytes = new Uint8Array(parquetWriteBuffer({ columnData, codec, rowGroupSize: 30 }));
      const rows = await load({ uri: put('parquet', bytes) });
      assert.equal(rows.length, 100);
      assert.deepEqual(rows[42], { text: 'row 42', stars: 42n, at: '1970-01-01T00:00:42.000Z' });
    }
  });

  test('what is written as JSONL is read back, whatever the fields hold', async () => {
    const row = fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      fc.jsonValue({ maxDepth: 2 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 5 }), async (rows) => {
        const text = rows.map((r) => JSON.stringify(r)).join('\n');
        writeFileSync(join(folder, 'any.jsonl'), text);
        assert.deepEqual(await load({ uri: 'any.jsonl' }), JSON.parse(`[${text.split('\n').join(',')}]`));
      }),
      { numRuns: 50 },
    );
  });

  test('the field format counts more than the name', async () => {
    const uri = put('txt', 'text\nhello\n');
    assert.deepEqual(await load({ uri, format: 'csv' }), [{ text: 'hello' }]);
    await fails({ uri, name: 'movies' }, 'DATA_FORMAT_UNKNOWN', /movies/, /file-\d+\.txt/);
  });
});

describe('places', () => {
  test('a path, a file:// URI and a folder', async () => {
    mkdirSync(join(folder, 'many'));
    const write = (name: string, text: string): void => writeFileSync(join(folder, 'many', name), text);
    write('b.jsonl', '{"n":2}\n');
    write('a.csv', 'n\n1\n');
    write('README.md', 'not data');
    assert.deepEqual(await load({ uri: 'many' }), [{ n: '1' }, { n: 2 }]);
    assert.deepEqual(await load({ uri: 'many', format: 'jsonl' }), [{ n: 2 }]);
    assert.deepEqual(await load({ uri: pathToFileURL(join(folder, 'many/b.jsonl')).href }), [{ n: 2 }]);
    await fails({ uri: 'many', format: 'parquet', name: 'x' }, 'DATA_MISSING', /holds no parquet file/);
  });

  test('over HTTP, with a connection that breaks midway, and nothing left behind', async () => {
    const text = Array.from({ length: 2000 }, (_, n) => `${JSON.stringify({ n })}\n`).join('');
    await using server = await serve({ '/data/rows.jsonl': { body: text, breakAfter: 5000 } });
    const temporary = mkdtempSync(join(folder, 'tmp-'));
    const uri = `${server.url}/data/rows.jsonl?token=1`;
    const rows = await loadRows({ uri }, { folder, temporary, download: { pause: () => 1 } });
    assert.equal(rows.length, 2000);
    assert.ok(server.requests.length > 1);
    assert.match(server.requests[1]!.headers.range!, /^bytes=\d+-$/);
    assert.deepEqual(readdirSync(temporary), []);
  });

  test('over HTTP, more bytes than allowed are refused', async () => {
    await using server = await serve({ '/rows.jsonl': { body: '{"n":1}\n'.repeat(100) } });
    const source = { uri: `${server.url}/rows.jsonl` };
    const refused = loadRows(source, { folder, download: { maxBytes: 99 } });
    await assert.rejects(refused, { code: 'DOWNLOAD_TOO_LARGE' });
    await fails({ uri: `${server.url}/other.jsonl` }, 'DOWNLOAD_FAILED', /404/);
  });

  test('what cannot be read is refused by name', async () => {
    await fails({ uri: 'ftp://host/rows.jsonl' }, 'URI_UNSUPPORTED', /ftp/);
    await fails(
      { uri: 'nowhere.jsonl', name: 'movies' },
      'DATA_MISSING',
      /movies/,
      /nowhere\.jsonl does not exist/,
    );
  });
});

describe('mistakes are named with source, row and column', () => {
  const name = 'movies';
  test('in JSONL', async () => {
    const good = '{"text":"a"}\n';
    await fails(
      { name, uri: put('jsonl', `${good}{"text":}\n`) },
      'DATA_INVALID',
      /movies/,
      /line 2, column 9/,
    );
    await fails({ name, uri: put('jsonl', `${good}{"text":`) }, 'DATA_INVALID', /line 2, column 9/);
    await fails({ name, uri: put('jsonl', `${good}[1]\n`) }, 'DATA_INVALID', /line 2: is not a JSON object/);
    const latin1 = Buffer.concat([Buffer.from(good), Buffer.from('{"text":"na\xefve"}\n', 'latin1')]);
    await fails({ name, uri: put('jsonl', latin1) }, 'DATA_INVALID', /line 2: is not UTF-8/);
  });

  test('in CSV', async () => {
    await fails({ name, uri: put('csv', 'a,b\n1,2\n3\n') }, 'DATA_INVALID', /movies/, /line 3/);
    await fails({ name, uri: put('csv', 'a,b\n1,"2\n') }, 'DATA_INVALID', /line/);
    await fails({ name, uri: put('csv', 'a,a\n1,2\n') }, 'DATA_INVALID', /column a twice/);
    await fails({ name, uri: put('csv', 'a,\n1,2\n') }, 'DATA_INVALID', /row 1, column 2/);
    const latin1 = Buffer.concat([Buffer.from('a,b\n\ufffd,2\n'), Buffer.from('tr\xe8s,3\n', 'latin1')]);
    await fails({ name, uri: put('csv', latin1) }, 'DATA_INVALID', /line 3: is not UTF-8/);
  });

  test('in Parquet', async () => {
    await fails({ name, uri: put('parquet', 'PAR1 not really') }, 'DATA_INVALID', /movies/, /row 1/);
  });

  test('a source without a row is an error', async () => {
    for (const uri of [put('jsonl', ''), put('jsonl', '\n\n'), put('csv', 'text,label\n')]) {
      await fails({ name, uri }, 'DATA_EMPTY', /movies/);
    }
  });
});
