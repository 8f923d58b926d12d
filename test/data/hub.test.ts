import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type CacheContext, cacheFolder, resolveModel } from '../../worker/data/cache.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import { readSafetensors, writeSafetensors } from '../../worker/model/safetensors.ts';
import { CHAT_TEMPLATE, MEMBERS, memberTokenizer, memberWeights } from '../model/tiny-llama.ts';
import { COMMIT, hash, serveHub } from './hub.ts';
import { serve } from './server.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-hub-'));
after(() => rmSync(root, { recursive: true }));

const json = JSON.stringify;
const weights = [...memberWeights('llama')];
const shards = [weights.slice(0, 9), weights.slice(9)].map((part) => writeSafetensors(new Map(part)));
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const map = Object.fromEntries(weights.map(([name], i) => [name, SHARDS[i < 9 ? 0 : 1]]));
const FILES = {
  'config.json': json(MEMBERS.llama),
  'tokenizer.json': json(memberTokenizer()),
  'tokenizer_config.json': json({ eos_token: '<|end|>' }),
  'chat_template.jinja': CHAT_TEMPLATE,
  'model.safetensors.index.json': json({ metadata: {}, weight_map: map }),
  [SHARDS[0]!]: shards[0]!,
  [SHARDS[1]!]: shards[1]!,
};
/** As `sha256sum model-*.safetensors | sha256sum` prints it. */
const sha256 = hash('sha256', ...SHARDS.map((name, i) => `${hash('sha256', shards[i]!)}  ${name}\n`));
const uri = 'hf://org/parts';

function context(endpoint: string): CacheContext & { readonly env: Record<string, string> } {
  const env = { ONEBYTE_CACHE: mkdtempSync(join(root, 'cache-')), HF_ENDPOINT: endpoint, HF_TOKEN: 'secret' };
  return { folder: root, env, download: { pause: () => 1 }, known: {} };
}

test('weights in several files come as their index names them, with the chat template, and the folder opens', async () => {
  await using hub = await serveHub('org/parts', FILES);
  const ctx = context(hub.url);
  const folder = await resolveModel({ uri, sha256 }, ctx);
  assert.deepEqual(readdirSync(folder).sort(), Object.keys(FILES).sort());
  for (const [name, body] of Object.entries(FILES))
    assert.deepEqual(readFileSync(join(folder, name)), Buffer.from(body));
  assert.deepEqual(readdirSync(join(cacheFolder(ctx.env), 'partial')), []);
  const { model, tokenizer, digests } = await openModelFolder(folder);
  assert.equal(digests.weights, sha256);
  assert.equal(tokenizer.chatTemplate, CHAT_TEMPLATE);
  const [name, { data }] = weights.at(-1)!;
  assert.deepEqual(model.weights.get(name)!.data, data);
  assert.deepEqual(readSafetensors(shards[1]!, 'b').get(name)!.data, data);

  const asked = hub.requests.length;
  assert.equal(await resolveModel({ uri, sha256 }, ctx), folder, 'from the cache');
  assert.equal(hub.requests.length, asked);
  // Damage to one part of several is seen as well.
  unlinkSync(join(folder, SHARDS[1]!));
  assert.equal(await resolveModel({ uri, sha256 }, ctx), folder);
  assert.ok(existsSync(join(folder, SHARDS[1]!)));
});

test('all files are of the commit that the first was of, and the token goes to the hub alone', async () => {
  await using hub = await serveHub('org/parts', FILES, { revision: 'v2' });
  await resolveModel({ uri: `${uri}@v2`, sha256 }, context(hub.url));
  const revisions = hub.requests.map(({ path }) => path.split('/')[4]);
  assert.deepEqual([...new Set(revisions)], ['v2', COMMIT]);
  assert.equal(revisions.filter((revision) => revision === 'v2').length, 1);
  assert.ok(hub.requests.every(({ headers }) => headers.authorization === 'Bearer secret'));
  assert.equal(hub.store.requests.length, 2);
  assert.ok(hub.store.requests.every(({ headers }) => headers.authorization === undefined));
});

for (const name of ['tokenizer.json', 'chat_template.jinja', SHARDS[0]!]) {
  test(`${name} with another digest than the hub says is refused by name, and nothing is kept`, async () => {
    await using hub = await serveHub('org/parts', FILES, { altered: { [name]: 'something else' } });
    const ctx = context(hub.url);
    await assert.rejects(resolveModel({ uri, sha256 }, ctx), {
      code: 'DIGEST_MISMATCH',
      message: new RegExp(`^${name.replaceAll('.', '[.]')} from 127`),
    });
    assert.deepEqual(readdirSync(join(cacheFolder(ctx.env), 'models')), []);
    const partial = join(cacheFolder(ctx.env), 'partial');
    assert.deepEqual(existsSync(partial) ? readdirSync(partial) : [], []);
  });
}

test('files of weights that are whole are not fetched again where a later one fails', async () => {
  const ctx = context('');
  const served = (second: object) =>
    serve(
      Object.fromEntries(
        Object.entries(FILES).map(([name, body]) => [
          `/org/parts/resolve/main/${name}`,
          { body, ...(name === SHARDS[1] && second) },
        ]),
      ),
    );
  await using broken = await served({ first: Array(50).fill(503) });
  const env = (url: string) => ({ ...ctx, env: { ...ctx.env, HF_ENDPOINT: url } });
  await assert.rejects(resolveModel({ uri, sha256 }, env(broken.url)), { code: 'MODEL_UNAVAILABLE' });
  await using whole = await served({});
  const folder = await resolveModel({ uri, sha256 }, env(whole.url));
  assert.deepEqual(readFileSync(join(folder, SHARDS[0]!)), Buffer.from(shards[0]!));
  const again = whole.requests.filter(({ path }) => path.endsWith(SHARDS[0]!));
  assert.deepEqual(
    again.map(({ headers }) => headers.range),
    [`bytes=${shards[0]!.length}-`],
  );
});

test('weights that the job does not name are refused, whatever the hub says of them', async () => {
  await using hub = await serveHub('org/parts', FILES);
  const other = resolveModel({ uri, sha256: '0'.repeat(64) }, context(hub.url));
  await assert.rejects(other, { code: 'DIGEST_MISMATCH', message: /the list of weights .* not 0000/ });
});

test('an index that leads out of its folder is refused, and so is a hub with neither weights nor index', async () => {
  const { 'model.safetensors.index.json': _, ...rest } = FILES;
  const evil = {
    ...rest,
    'model.safetensors.index.json': json({ weight_map: { a: '../../a.safetensors' } }),
  };
  await using hub = await serveHub('org/parts', evil);
  await assert.rejects(resolveModel({ uri, sha256 }, context(hub.url)), {
    code: 'MODEL_UNAVAILABLE',
    message: /index[.]json names no safetensors files of its folder/,
  });
  await using bare = await serveHub('org/parts', rest);
  await assert.rejects(resolveModel({ uri, sha256 }, context(bare.url)), {
    code: 'MODEL_UNAVAILABLE',
    message: /model[.]safetensors: answered 404/,
  });
});

test('an ONNX file comes with the tokenizer beside it, or with that of the folder above', async () => {
  const model = Buffer.from('an ONNX file, by its digest');
  const named = { uri: 'hf://org/parts/onnx/model.onnx', sha256: hash('sha256', model) };
  for (const place of ['onnx/', '']) {
    const files = { 'onnx/model.onnx': model, [`${place}tokenizer.json`]: FILES['tokenizer.json'] };
    const served = Object.entries(files).map(([name, body]) => [`/org/parts/resolve/main/${name}`, { body }]);
    await using server = await serve(Object.fromEntries(served));
    const path = await resolveModel(named, context(server.url));
    assert.deepEqual(readdirSync(join(path, '..')).sort(), ['model.onnx', 'tokenizer.json']);
    assert.deepEqual(readFileSync(path), model);
  }
});

test('a store that answers redirects without end is given up', async () => {
  const turn = { body: '', location: '/org/parts/resolve/main/config.json' };
  await using server = await serve({ '/org/parts/resolve/main/config.json': turn });
  await assert.rejects(resolveModel({ uri, sha256 }, context(server.url)), {
    code: 'MODEL_UNAVAILABLE',
    message: /leads on more than 10 times/,
  });
});
