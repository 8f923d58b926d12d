import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { loadRows } from '../../worker/data/rows.ts';
import { objectUrl, putObject, type S3Settings, s3Settings } from '../../worker/data/s3.ts';
import type { OnebyteError } from '../../worker/errors.ts';
import { serve } from './server.ts';
import { signatureOf } from './signature.ts';

const example: S3Settings = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  region: 'us-east-1',
};

test('a bucket is the first part of the name at Amazon, and of the path elsewhere', () => {
  const place = "s3://models/a b/it's.bin";
  assert.equal(objectUrl(example, place).href, 'https://models.s3.us-east-1.amazonaws.com/a%20b/it%27s.bin');
  const other = { ...example, endpoint: 'http://minio:9000/' };
  assert.equal(objectUrl(other, place).href, 'http://minio:9000/models/a%20b/it%27s.bin');
});

test('credentials that are missing are named', () => {
  assert.throws(() => s3Settings({ AWS_ACCESS_KEY_ID: 'a' }), /AWS_SECRET_ACCESS_KEY is missing/);
  const env = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_ENDPOINT_URL: 'http://minio:9000' };
  const { region, endpoint } = s3Settings(env);
  assert.deepEqual([region, endpoint], ['us-east-1', 'http://minio:9000']);
});

describe('an object on a server', () => {
  let server: Server;
  let settings: S3Settings;
  const answers: number[] = [];
  const got: { path: string; body: string; authorization: string; digest: string }[] = [];
  before(async () => {
    server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks).toString();
      got.push({
        path: request.url!,
        body,
        authorization: request.headers.authorization ?? '',
        digest: String(request.headers['x-amz-content-sha256']),
      });
      response.writeHead(answers.shift() ?? 200);
      response.end('<Error><Message>Access Denied</Message></Error>');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    settings = { ...example, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  });
  after(() => new Promise((resolve) => server.close(resolve)));

  test('is written with a signature, and again after a fault of the server', async () => {
    answers.push(503);
    await putObject(settings, 's3://models/run/file', new TextEncoder().encode('bytes'));
    assert.deepEqual(
      got.map(({ path, body }) => [path, body]),
      [
        ['/models/run/file', 'bytes'],
        ['/models/run/file', 'bytes'],
      ],
    );
    assert.equal(got[0]!.digest, createHash('sha256').update('bytes').digest('hex'));
    assert.match(got[0]!.authorization, /^AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\//);
  });

  test('that may not be written is refused at once, in the words of the server', async () => {
    answers.push(403);
    got.length = 0;
    await assert.rejects(
      putObject(settings, 's3://models/run/file', new Uint8Array(1)),
      /s3:\/\/models\/run\/file cannot be written: HTTP 403 Access Denied/,
    );
    assert.equal(got.length, 1);
  });

  test('is read as a source of data by an address with a signature, and named without it', async () => {
    await using bucket = await serve({ '/texts/a%20b/rows.jsonl': { body: '{"n":1}\n{"n":2}\n' } });
    const env = {
      AWS_ACCESS_KEY_ID: example.accessKeyId,
      AWS_SECRET_ACCESS_KEY: example.secretAccessKey,
      AWS_ENDPOINT_URL: bucket.url,
    };
    const context = { folder: '.', env };
    assert.deepEqual(await loadRows({ uri: 's3://texts/a b/rows.jsonl' }, context), [{ n: 1 }, { n: 2 }]);
    const { query } = bucket.requests[0]!;
    const url = new URL(`/texts/a%20b/rows.jsonl${query}`, bucket.url);
    assert.equal(url.searchParams.get('X-Amz-Signature'), signatureOf('GET', url, env.AWS_SECRET_ACCESS_KEY));
    const uri = 's3://texts/none.jsonl';
    await assert.rejects(loadRows({ uri }, context), (error: OnebyteError) => {
      assert.equal(error.code, 'DOWNLOAD_FAILED');
      assert.match(error.message, /^s3:\/\/texts\/none\.jsonl: answered 404/);
      assert.doesNotMatch(error.message, /X-Amz/);
      return true;
    });
    await assert.rejects(loadRows({ uri }, { folder: '.', env: {} }), {
      code: 'WORKER_CONFIG_INVALID',
      field: 'AWS_ACCESS_KEY_ID',
    });
  });
});

test('the signature of the published example is the one that the rules give', () => {
  const url = new URL(
    'https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host',
  );
  const published = 'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';
  assert.equal(signatureOf('GET', url, example.secretAccessKey), published);
});
