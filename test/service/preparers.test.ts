import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { openNats } from '../../worker/nats/connect.ts';
import { inboxPrefix, jobNames, memberId } from '../../worker/nats/names.ts';
import { accountConfig, workerPermissions } from '../../worker/nats/permissions.ts';
import { NatsPreparers } from '../../worker/service/preparers.ts';
import { freshUid } from '../nats/job.ts';
import { NatsSystem } from '../nats/server.ts';
import { missing } from '../tools/tool.ts';

const skip = await missing('nats-server');
/** Longer than a server takes to say that nobody listens. */
const MS = 2000;

describe('who prepares a run', { skip }, () => {
  const [own, other] = [jobNames(freshUid()), jobNames(freshUid())];
  const workers = [
    { name: 'w1', names: own },
    { name: 'w2', names: own },
    { name: 'stranger', names: other },
  ];
  let system: NatsSystem;
  before(async () => {
    const users = workers.map(({ name, names }) => ({
      user: name,
      password: name,
      permissions: workerPermissions({ names }, name),
    }));
    const jobs = accountConfig(users, { maxBytes: 1 << 20, maxStreams: 5 });
    system = await NatsSystem.start({ config: { accounts: { jobs } } });
  });
  after(() => system?.end());

  const open = async ({ name, names }: (typeof workers)[number]) => {
    const connection = await openNats({
      servers: system.urls,
      user: name,
      password: name,
      inboxPrefix: inboxPrefix(names.uid, name),
    });
    return { connection, preparers: new NatsPreparers(connection, names, memberId(name, new Uint8Array(4))) };
  };

  test('is known to the other workers of its job until it is done or dies, by what their credentials allow', async () => {
    const [w1, w2, stranger] = await Promise.all(workers.map(open));
    const asked = () => w1!.preparers.anybody(MS);
    assert.equal(await asked(), false);
    const others = stranger!.preparers.begin();
    await stranger!.connection.flush();
    assert.equal(await asked(), false);
    others();

    const done = w2!.preparers.begin();
    await w2!.connection.flush();
    assert.equal(await asked(), true);
    done();
    await w2!.connection.flush();
    assert.equal(await asked(), false);

    w2!.preparers.begin();
    await w2!.connection.flush();
    assert.equal(await asked(), true);
    await w2!.connection.close();
    assert.equal(await asked(), false);
    await assert.rejects(w2!.preparers.anybody(MS), { name: 'LogUnavailable' });
    await Promise.all([w1!.connection.close(), stranger!.connection.close()]);
  });
});
