import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import { type CacheContext, cacheFolder, resolveModel } from '../../worker/data/cache.ts';
import { extract } from '../../worker/data/zip.ts';
import { type FileServer, type Served, serve } from './server.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-test-'));
after(() => rmSync(root, { recursive: true }));

const weights = Buffer.from(Array.from({ length: 40_000 }, (_, i) => (i * i) % 251));
const sha256 = createHash('sha256').update(weights).digest('hex');
const FILES = {
  'config.json': '{"model_type":"bert"}',
  'tokenizer.json': '{}',
  'model.safetensors': weights,
};
const uri = 'hf://org/tiny';

function hub(change: Readonly<Record<string, Partial<Served>>> = {}, revision = 'main'): Promise<FileServer> {
  const served = Object.entries(FILES).map(([name, body]): [string, Served] => [
    `/org/tiny/resolve/${revision}/${name}`,
    { body, ...change[name] },
  ]);
  return serve(Object.fromEntries(served));
}

function context(endpoint: string, more: Partial<CacheContext> = {}): CacheContext & { lines: string[] } {
  const lines: string[] = [];
  const env = { ONEBYTE_CACHE: mkdtempSync(join(root, 'cache-')), HF_ENDPOINT: endpoint };
  const log = (line: string): number => lines.push(line);
  return { folder: root, env, log, download: { pause: () => 1 }, known: {}, lines, ...more };
}

const inside = (ctx: CacheContext, folder: string): string[] => {
  const path = join(cacheFolder(ctx.env), folder);
  return existsSync(path) ? readdirSync(path) : [];
};

describe('from the hub', () => {
  test('what a folder needs, and what it may have, is asked for once, and then comes from the cache', async () => {
    await using server = await hub();
    const ctx = context(server.url);
    const folder = await resolveModel({ uri, sha256 }, ctx);
    assert.equal(folder, join(cacheFolder(ctx.env), 'models', sha256));
    for (const [name, body] of Object.entries(FILES)) {
      assert.deepEqual(readFileSync(join(folder, name)), Buffer.from(body));
    }
    assert.equal(await resolveModel({ uri, sha256 }, ctx), folder);
    assert.equal(await resolveModel({ uri: 'hf://another/name', sha256 }, ctx), folder);
    const asked = server.requests.map(({ path }) => path.replace('/org/tiny/resolve/main/', ''));
    assert.deepEqual(asked, [
      'config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'chat_template.jinja',
      'model.safetensors',
    ]);
    assert.deepEqual(inside(ctx, 'models'), [sha256]);
    assert.deepEqual(inside(ctx, 'partial'), []);
  });

  test('from a bucket', async () => {
    await using server = await serve(
      Object.fromEntries(Object.entries(FILES).map(([name, body]) => [`/models/tiny/${name}`, { body }])),
    );
    const ctx = context(server.url);
    const env = {
      ...ctx.env,
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 'b',
      AWS_ENDPOINT_URL: server.url,
    };
    await resolveModel({ uri: 's3://models/tiny', sha256 }, { ...ctx, env });
    assert.ok(server.requests.every(({ query }) => query.includes('X-Amz-Signature=')));
    assert.equal(server.requests.length, 5);
  });

  test('a revision, a token and an https:// folder are honoured', async () => {
    await using server = await hub({}, 'v2');
    const ctx = context(server.url);
    const env = { ...ctx.env, HF_TOKEN: 'secret' };
    await resolveModel({ uri: `${uri}@v2`, sha256 }, { ...ctx, env });
    assert.equal(server.requests[0]!.headers.authorization, 'Bearer secret');
    await resolveModel(
      { uri: `${server.url}/org/tiny/resolve/v2/`, sha256 },
      context('http://127.0.0.1:9', {}),
    );
    assert.equal(server.requests.at(-1)!.headers.authorization, undefined);
  });

  test('a connection that breaks is taken up where it broke, and one that is refused for a while is tried again', async () => {
    await using server = await hub({
      'model.safetensors': { breakAfter: 15_000 },
      'config.json': { first: [503] },
    });
    await resolveModel({ uri, sha256 }, context(server.url));
    const asked = server.requests.filter(({ path }) => path.endsWith('.safetensors'));
    assert.ok(asked.length >= 3);
    assert.ok(asked.slice(1).every(({ headers }) => headers.range));
  });

  test('a download that another process left behind is taken over', async () => {
    await using server = await hub();
    const ctx = context(server.url);
    const partial = join(cacheFolder(ctx.env), 'partial');
    mkdirSync(partial, { recursive: true });
    writeFileSync(join(partial, `${sha256}.1.x`), weights.subarray(0, 30_000));
    writeFileSync(join(partial, `${sha256}.2.fresh`), weights.subarray(0, 10));
    utimesSync(join(partial, `${sha256}.1.x`), 1, 1);
    await resolveModel({ uri, sha256 }, ctx);
    assert.equal(server.requests.at(-1)!.headers.range, 'bytes=30000-');
    assert.deepEqual(inside(ctx, 'partial'), [`${sha256}.2.fresh`]);
  });

  test('what a killed process was filling is removed in the end', async () => {
    await using server = await hub();
    const ctx = context(server.url);
    const models = join(cacheFolder(ctx.env), 'models');
    for (const name of ['.filling-dead', '.filling-alive'])
      mkdirSync(join(models, name), { recursive: true });
    utimesSync(join(models, '.filling-dead'), 1, 1);
    await resolveModel({ uri, sha256 }, ctx);
    assert.deepEqual(inside(ctx, 'models').sort(), ['.filling-alive', sha256]);
  });

  test('a leftover of another file is found out by its digest and thrown away', async () => {
    await using server = await hub();
    const ctx = context(server.url);
    const partial = join(cacheFolder(ctx.env), 'partial');
    mkdirSync(partial, { recursive: true });
    writeFileSync(join(partial, `${sha256}.1.x`), Buffer.alloc(30_000));
    utimesSync(join(partial, `${sha256}.1.x`), 1, 1);
    await assert.rejects(resolveModel({ uri, sha256 }, ctx), { code: 'DIGEST_MISMATCH' });
    assert.deepEqual(inside(ctx, 'partial'), []);
    await resolveModel({ uri, sha256 }, ctx);
  });

  test('weights of another digest are refused and leave nothing behind', async () => {
    await using server = await hub({ 'model.safetensors': { body: 'other weights' } });
    const ctx = context(server.url);
    await assert.rejects(resolveModel({ uri, sha256 }, ctx), { code: 'DIGEST_MISMATCH' });
    assert.deepEqual(inside(ctx, 'models'), []);
    assert.deepEqual(inside(ctx, 'partial'), []);
  });

  test('a damaged cache is filled again', async () => {
    await using server = await hub();
    const ctx = context(server.url);
    const folder = await resolveModel({ uri, sha256 }, ctx);
    writeFileSync(join(folder, 'model.safetensors'), 'damaged');
    await resolveModel({ uri, sha256 }, ctx);
    assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), weights);
    rmSync(join(folder, 'config.json'));
    await resolveModel({ uri, sha256 }, ctx);
    assert.equal(readFileSync(join(folder, 'config.json'), 'utf8'), FILES['config.json']);
  });

  test('many at once end with one folder', async () => {
    await using server = await hub({ 'model.safetensors': { breakAfter: 9_000 } });
    const ctx = context(server.url);
    const folders = await Promise.all(Array.from({ length: 8 }, () => resolveModel({ uri, sha256 }, ctx)));
    assert.equal(new Set(folders).size, 1);
    assert.deepEqual(inside(ctx, 'models'), [sha256]);
    assert.deepEqual(readFileSync(join(folders[0]!, 'model.safetensors')), weights);
  });
});

describe('several processes', () => {
  const fill = (ctx: CacheContext): ChildProcess =>
    spawn(process.execPath, [join(import.meta.dirname, 'fill.ts'), uri, sha256], {
      env: { ...process.env, ...ctx.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });

  test('two that fill at once both end with the model, and a third that was killed midway harms neither', async () => {
    await using server = await hub({ 'model.safetensors': { breakAfter: 12_000 } });
    const ctx = context(server.url);
    const [killed, ...others] = [fill(ctx), fill(ctx), fill(ctx)];
    const partial = join(cacheFolder(ctx.env), 'partial');
    while (!existsSync(partial) || readdirSync(partial).length === 0) await wait(5);
    killed!.kill('SIGKILL');
    const codes = await Promise.all(others.map((child) => once(child, 'exit').then(([code]) => code)));
    assert.deepEqual(codes, [0, 0]);
    const folder = await resolveModel({ uri, sha256 }, ctx);
    assert.deepEqual(readFileSync(join(folder, 'model.safetensors')), weights);
  });
});

describe('one file that is the model', () => {
  test('comes from the hub by its own name, and from the cache after that', async () => {
    await using server = await serve({ '/org/tiny/resolve/main/sub/any.gguf': { body: weights } });
    const ctx = context(server.url);
    const path = await resolveModel({ uri: `${uri}/sub/any.gguf`, sha256 }, ctx);
    assert.equal(path, join(cacheFolder(ctx.env), 'models', sha256, 'model.gguf'));
    assert.deepEqual(readFileSync(path), weights);
    assert.equal(await resolveModel({ uri: 'hf://other/place/x.gguf@v1', sha256 }, ctx), path);
    assert.equal(server.requests.length, 1);
  });

  test('a revision and an https:// address are honoured', async () => {
    await using server = await serve({ '/org/tiny/resolve/v2/any.gguf': { body: weights } });
    await resolveModel({ uri: `${uri}/any.gguf@v2`, sha256 }, context(server.url));
    await resolveModel({ uri: `${server.url}/org/tiny/resolve/v2/any.gguf`, sha256 }, context(''));
    assert.equal(server.requests.length, 2);
  });

  test('on disk it is used where it is, under any name', async () => {
    const ctx = context('');
    const path = join(mkdtempSync(join(root, 'model-')), 'any.Q4_0.gguf');
    for (const name of [`${path.slice(0, -5)}.onnx`, path]) {
      writeFileSync(name, weights);
      assert.equal(await resolveModel({ uri: name, sha256 }, ctx), name);
    }
    const other = resolveModel({ uri: path, sha256: '0'.repeat(64) }, ctx);
    await assert.rejects(other, { code: 'DIGEST_MISMATCH', field: 'model.sha256' });
    const none = resolveModel({ uri: `${path.slice(0, -5)}x.gguf`, sha256 }, ctx);
    await assert.rejects(none, { code: 'MODEL_FILE_MISSING', message: /there is no/ });
  });
});

describe('a hub that does not answer', () => {
  test('nobody listens: the failure names the source, after one try', async () => {
    const unused = createServer();
    await new Promise<void>((resolve) => unused.listen(0, '127.0.0.1', resolve));
    const { port } = unused.address() as { port: number };
    await new Promise((resolve) => unused.close(resolve));
    const ctx = context(`http://127.0.0.1:${port}`);
    const failed = resolveModel({ uri, sha256 }, ctx);
    await assert.rejects(failed, { code: 'MODEL_UNAVAILABLE', message: /ECONNREFUSED/ });
    assert.equal(ctx.lines.length, 1);
  });

  test('it listens and says nothing: given up after the time for an answer', async () => {
    await using server = await hub({ 'config.json': { silent: true } });
    const ctx = context(server.url, { download: { answerWithin: 50 } });
    await assert.rejects(resolveModel({ uri, sha256 }, ctx), {
      code: 'MODEL_UNAVAILABLE',
      message: /no answer/,
    });
    assert.equal(server.requests.length, 1);
  });
});

describe('on disk', () => {
  const put = (): string => {
    const folder = mkdtempSync(join(root, 'model-'));
    for (const [name, body] of Object.entries(FILES)) writeFileSync(join(folder, name), body);
    return folder;
  };

  test('a folder is used where it is, once its digest is right', async () => {
    const folder = put();
    const ctx = context('');
    assert.equal(await resolveModel({ uri: `file://${folder}`, sha256 }, ctx), folder);
    assert.equal(await resolveModel({ uri: folder.slice(root.length + 1), sha256 }, ctx), folder);
    const other = resolveModel({ uri: folder, sha256: '0'.repeat(64) }, ctx);
    await assert.rejects(other, { code: 'DIGEST_MISMATCH', field: 'model.sha256' });
    assert.ok(existsSync(join(folder, 'model.safetensors')));
    rmSync(join(folder, 'tokenizer.json'));
    await assert.rejects(resolveModel({ uri: folder, sha256 }, ctx), { message: /has no tokenizer.json/ });
  });

  test('a folder is used although the cache has its weights, and the cache where the folder is gone', async () => {
    await using server = await hub();
    const ctx = context(server.url);
    const cached = await resolveModel({ uri, sha256 }, ctx);
    const folder = put();
    assert.equal(await resolveModel({ uri: folder, sha256 }, ctx), folder);
    rmSync(folder, { recursive: true });
    assert.equal(await resolveModel({ uri: folder, sha256 }, ctx), cached);
  });

  test('weights in several files have the digest of the list of their digests', async () => {
    const folder = put();
    rmSync(join(folder, 'model.safetensors'));
    const parts = ['a.safetensors', 'b.safetensors'];
    for (const [i, name] of parts.entries()) writeFileSync(join(folder, name), weights.subarray(i));
    const map = { two: parts[1], one: parts[0], three: parts[1] };
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
    const hash = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
    const list = parts.map((name, i) => `${hash(weights.subarray(i))}  ${name}\n`).join('');
    const ctx = context('');
    assert.equal(await resolveModel({ uri: folder, sha256: hash(list) }, ctx), folder);
    await assert.rejects(resolveModel({ uri: folder, sha256 }, ctx), { code: 'DIGEST_MISMATCH' });
  });

  test('an unknown scheme is refused by name', async () => {
    const refused = resolveModel({ uri: 'ftp://host/model', sha256 }, context(''));
    await assert.rejects(refused, { code: 'URI_UNSUPPORTED', message: /ftp/ });
  });
});

describe('zip files', () => {
  /** A zip file by the book: local headers, directory, end record. */
  function zip(files: Readonly<Record<string, Buffer>>, packed: boolean): Buffer {
    const local: Buffer[] = [];
    const directory: Buffer[] = [];
    let offset = 0;
    for (const [name, body] of Object.entries(files)) {
      const data = packed ? deflateRawSync(body) : body;
      const head = Buffer.alloc(30);
      head.writeUInt32LE(0x04034b50, 0);
      head.writeUInt16LE(name.length, 26);
      local.push(head, Buffer.from(name), data);
      const entry = Buffer.alloc(46);
      entry.writeUInt32LE(0x02014b50, 0);
      entry.writeUInt16LE(packed ? 8 : 0, 10);
      entry.writeUInt32LE(data.length, 20);
      entry.writeUInt32LE(body.length, 24);
      entry.writeUInt16LE(name.length, 28);
      entry.writeUInt32LE(offset, 42);
      directory.push(entry, Buffer.from(name));
      offset += 30 + name.length + data.length;
    }
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(Object.keys(files).length, 10);
    end.writeUInt32LE(Buffer.concat(directory).length, 12);
    end.writeUInt32LE(offset, 16);
    return Buffer.concat([...local, ...directory, end]);
  }

  test('the entries asked for are written, stored or deflated, and the others are not', async () => {
    for (const packed of [false, true]) {
      const folder = mkdtempSync(join(root, 'zip-'));
      writeFileSync(join(folder, 'a.zip'), zip({ 'x/one': weights, 'x/two': Buffer.from('2') }, packed));
      await extract(join(folder, 'a.zip'), new Map([['x/one', join(folder, 'one')]]));
      assert.deepEqual(readFileSync(join(folder, 'one')), weights);
      assert.deepEqual(readdirSync(folder), ['a.zip', 'one']);
    }
  });

  test('what is no zip file, is cut short or lacks the entry is refused', async () => {
    const folder = mkdtempSync(join(root, 'zip-'));
    const whole = zip({ one: weights }, true);
    const entry = new Map([['one', join(folder, 'one')]]);
    for (const bytes of [Buffer.alloc(0), Buffer.from('no'), whole.subarray(100), whole.subarray(0, -30)]) {
      writeFileSync(join(folder, 'b.zip'), bytes);
      await assert.rejects(extract(join(folder, 'b.zip'), entry), { code: 'ARCHIVE_INVALID' });
    }
    writeFileSync(join(folder, 'b.zip'), whole);
    const other = new Map([['two', join(folder, 'two')]]);
    await assert.rejects(extract(join(folder, 'b.zip'), other), { message: /has no two/ });
  });
});
