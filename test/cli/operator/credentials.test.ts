import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { credentialsFor } from '../../../cli/operator/credentials.ts';
import { NatsLog } from '../../../worker/log/nats.ts';
import { openNats } from '../../../worker/nats/connect.ts';
import { inboxPrefix, jobNames } from '../../../worker/nats/names.ts';
import { createStream } from '../../../worker/nats/stream.ts';
import { JwtOperator } from '../../nats/jwt.ts';
import { NatsSystem } from '../../nats/server.ts';
import { missing } from '../../tools/tool.ts';

const skip = await missing('nats-server');

test('credentials written for one worker open the log of its run and no other', { skip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-credentials-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const jwt = new JwtOperator();
  const nats = await NatsSystem.start({ config: jwt.config });
  t.after(() => nats.end());
  const file = async (name: string, text: string) => {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const [own, other] = [jobNames('run-a'), jobNames('run-b')];
  const admin = await openNats({
    servers: nats.urls,
    credentialsFile: await file('admin.creds', jwt.credentials('admin')),
  });
  t.after(() => admin.close());
  for (const names of [own, other]) await createStream(admin, names, { maxBytes: 1 << 20, replicas: 1 });

  const seed = await file('account.seed', `-----BEGIN SEED-----\n${jwt.accountSeed}\n`);
  const text = credentialsFor('run-a', 'site-0', { accountSeed: seed }, {}, Date.now());
  const worker = await openNats({
    servers: nats.urls,
    credentialsFile: await file('site.creds', text),
    inboxPrefix: inboxPrefix('run-a', 'site-0'),
  });
  t.after(() => worker.close());
  const entry = new Uint8Array([1]);
  const log = new NatsLog(worker, own);
  assert.equal(await log.append(entry, { expectedLast: 0, id: 'one' }), 1);
  assert.deepEqual((await log.last())?.data, entry);
  await assert.rejects(new NatsLog(worker, other).append(entry, { expectedLast: 0, id: 'two' }));
  assert.equal(await new NatsLog(admin, other).last(), null);
});

test('a file that holds no seed of an account is refused with what it should hold', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-credentials-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const accountSeed = join(folder, 'seed');
  const ask = () => credentialsFor('run', 'site-0', { accountSeed }, {}, 0);
  assert.throws(ask, { code: 'FILE_UNREADABLE' });
  await writeFile(accountSeed, 'SUAB');
  assert.throws(ask, { code: 'COMMAND_INVALID', message: /holds no seed of an account/ });
});
