import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { NatsBus } from '../../worker/bus/nats.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import { type NatsConfig, openNats } from '../../worker/nats/connect.ts';
import {
  broadcastSubject,
  directSubject,
  inboxPrefix,
  type JobNames,
  jobNames,
  memberId,
} from '../../worker/nats/names.ts';
import {
  accountConfig,
  managerPermissions,
  type User,
  watcherPermissions,
  workerPermissions,
} from '../../worker/nats/permissions.ts';
import { NatsStore } from '../../worker/nats/store.ts';
import { checkStream, createStream, deleteStream } from '../../worker/nats/stream.ts';
import { sha256 } from '../../worker/store/store.ts';
import { collect, fill, text } from '../log/contract.ts';
import { missing } from '../tools/tool.ts';
import { freshUid } from './job.ts';
import { NatsSystem } from './server.ts';

const skip = await missing('nats-server');
const life = (n: number) => Uint8Array.of(0, 0, 0, n);
const MAX_BYTES = 1 << 16;

describe('the permissions of a worker', { skip }, () => {
  const [own, other] = [jobNames(freshUid()), jobNames(freshUid())];
  const [w1, w2] = [memberId('w1', life(1)), memberId('w2', life(2))];
  let system: NatsSystem;
  let admin: NatsConnection;
  let worker: NatsConnection;
  const open = (user: string, config: Partial<NatsConfig> = {}) =>
    openNats({ servers: system.urls, user, password: user, ...config });
  const asWorker = (name: string, names: JobNames = own) =>
    open(name, { inboxPrefix: inboxPrefix(names.uid, name) });
  const asManager = () => open('manager', { inboxPrefix: '_INBOX.manager' });

  before(async () => {
    const user = (name: string, permissions?: User['permissions']): User =>
      permissions === undefined
        ? { user: name, password: name }
        : { user: name, password: name, permissions };
    const users = [
      user('admin'),
      user('manager', managerPermissions({ inbox: '_INBOX.manager' })),
      user('watcher', watcherPermissions({ names: own }, 'watcher')),
      user('w1', workerPermissions({ names: own }, 'w1')),
      user('w2', workerPermissions({ names: own }, 'w2')),
      user('maker', {
        publish: {
          allow: [`$JS.API.CONSUMER.CREATE.${own.stream}.>`, `$JS.API.CONSUMER.CREATE.${own.stream}`],
        },
        subscribe: { allow: ['_INBOX.>'] },
      }),
      user('o1', workerPermissions({ names: other }, 'o1')),
    ];
    const jobs = accountConfig(users, { maxBytes: 1 << 20, maxStreams: 5 });
    const strangers = accountConfig([user('stranger')], { maxBytes: 1 << 20, maxStreams: 1 });
    system = await NatsSystem.start({ config: { accounts: { jobs, strangers } } });
    admin = await open('admin');
    const manager = await asManager();
    for (const names of [own, other])
      await createStream(manager, names, { maxBytes: MAX_BYTES, storeBytes: MAX_BYTES });
    await manager.close();
    await fill(new NatsLog(admin, own), 2);
    await fill(new NatsLog(admin, other), 2);
    worker = await asWorker('w1');
  });
  after(async () => {
    // They would reconnect for ever and keep the process alive.
    await Promise.all([worker.close(), admin.close()]);
    await system.end();
  });

  /** That the server refuses a message, and says so. */
  async function refusesPublish(subject: string, body: unknown = {}): Promise<void> {
    const connection = await asWorker('w1');
    const refusal = nextRefusal(connection);
    connection.publish(subject, typeof body === 'string' ? body : JSON.stringify(body));
    assert.equal(await refusal, `publish ${subject}`);
    await connection.close();
  }

  async function refusesSubscription(subject: string): Promise<void> {
    const connection = await asWorker('w1');
    const refusal = nextRefusal(connection);
    const subscription = connection.subscribe(subject, { callback: () => {} });
    assert.equal(await refusal, `subscription ${subject}`);
    subscription.unsubscribe();
    await connection.close();
  }

  async function nextRefusal(connection: NatsConnection): Promise<string> {
    for await (const status of connection.status()) {
      if (status.type !== 'error') continue;
      const { operation, subject } = status.error as Error & { operation?: string; subject?: string };
      return `${operation} ${subject}`;
    }
    return 'closed';
  }

  it('let it append to its log, read it, follow it, and speak on the bus as itself', async () => {
    const log = new NatsLog(worker, own);
    await checkStream(worker, own);
    const tail = log.tail(1, new AbortController().signal)[Symbol.asyncIterator]();
    assert.equal(await log.append(text('e3'), { expectedLast: 2, id: 'w1-3' }), 3);
    for (let seq = 1; seq <= 3; seq++) {
      const { value } = await tail.next();
      assert.equal(value.entry.seq, seq);
    }
    assert.deepEqual(await collect(log.read(2)), ['2:e2', '3:e3']);
    assert.equal((await log.last())?.seq, 3);
    await log.close();
    const second = await asWorker('w2');
    const [a, b] = [new NatsBus(worker, own, w1), new NatsBus(second, own, w2)];
    const heard = Promise.withResolvers<string>();
    const all = Promise.withResolvers<string>();
    b.onMessage((from, data) => (data[0] === 1 ? heard : all).resolve(`${from} ${[...data]}`));
    await b.ready();
    a.send(w2, Uint8Array.of(1));
    a.broadcast(Uint8Array.of(2));
    assert.equal(await heard.promise, `${w1} 1`);
    assert.equal(await all.promise, `${w1} 2`);
    await Promise.all([a.close(), b.close(), second.close()]);
  });

  it('do not let it append to the log of another job, nor read or follow that', async () => {
    const foreign = new NatsLog(worker, other);
    const denied = { code: 'NATS_DENIED' };
    await assert.rejects(foreign.append(text('x'), { expectedLast: 2, id: 'x' }), denied);
    await assert.rejects(foreign.last(), denied);
    await assert.rejects(collect(foreign.read(1)), denied);
    await assert.rejects(checkStream(worker, other), denied);
    const tail = foreign.tail(1, new AbortController().signal)[Symbol.asyncIterator]();
    await assert.rejects(tail.next(), denied);
    await refusesPublish(other.log, 'x');
    await refusesSubscription(other.tail);
    await refusesSubscription(other.log);
    await refusesSubscription('>');
    assert.deepEqual(await collect(new NatsLog(admin, other).read(1)), ['1:e1', '2:e2']);
  });

  it('let it keep snapshots and artifacts of its job, and read those that others kept', async () => {
    const second = await asWorker('w2');
    const [mine, theirs] = [new NatsStore(worker, own), new NatsStore(second, own)];
    const bytes = text('state');
    const index = { digest: sha256(bytes), bytes: bytes.length, seq: 3, round: 2 };
    assert.match((await mine.putSnapshot(index, bytes))!, new RegExp(`^${own.storeStream}/`));
    assert.equal(await mine.putArtifact(sha256(text('basis')), text('basis')), true);
    assert.deepEqual(await theirs.snapshots(), [index]);
    assert.deepEqual(await theirs.getSnapshot(index), bytes);
    assert.deepEqual(await theirs.getArtifact(sha256(text('basis'))), text('basis'));
    await second.close();
  });

  it('do not let it keep anything in the store of another job, nor find, read or remove what is there', async () => {
    const denied = { code: 'NATS_DENIED' };
    const bytes = text('theirs');
    const index = { digest: sha256(bytes), bytes: bytes.length, seq: 1, round: 1 };
    const keeper = new NatsStore(admin, other);
    await keeper.putSnapshot(index, bytes);
    await keeper.putArtifact(index.digest, bytes);
    const foreign = new NatsStore(worker, other);
    await assert.rejects(foreign.putSnapshot({ ...index, seq: 2 }, bytes), denied);
    await assert.rejects(foreign.snapshots(), denied);
    await assert.rejects(foreign.getSnapshot(index), denied);
    await assert.rejects(foreign.getArtifact(index.digest), denied);
    assert.equal(await NatsStore.find(worker, other), null);
    for (const place of ['snapshot.0.0', 'snapshot.0.index', `artifact.${index.digest}.0`])
      await refusesPublish(`${other.store}.${place}`, 'x');
    await refusesSubscription(`${other.store}.>`);
    await refusesSubscription(`${own.store}.>`);
    for (const { storeStream } of [own, other]) {
      for (const call of ['PURGE', 'DELETE', 'MSG.DELETE', 'UPDATE', 'SNAPSHOT', 'MSG.GET'])
        await refusesPublish(`$JS.API.STREAM.${call}.${storeStream}`);
      await refusesPublish(`$JS.API.CONSUMER.CREATE.${storeStream}`);
    }
    assert.deepEqual(await keeper.getSnapshot(index), bytes);
  });

  it('do not let it speak as another worker, of its job or of another one', async () => {
    await refusesPublish(directSubject(own, w1, w2), 'x');
    await refusesPublish(broadcastSubject(own, w2), 'x');
    await refusesPublish(broadcastSubject(other, w1), 'x');
    await refusesPublish(`${own.bus}.all.all.x`, 'x');
    const second = await asWorker('w2');
    const bus = new NatsBus(second, own, w2);
    const heard: string[] = [];
    bus.onMessage((from) => heard.push(from));
    await bus.ready();
    const pretender = new NatsBus(worker, own, w2);
    pretender.send(w2, Uint8Array.of(1));
    const honest = new NatsBus(worker, own, w1);
    const came = Promise.withResolvers<void>();
    bus.onMessage((from) => {
      heard.push(from);
      came.resolve();
    });
    honest.send(w2, Uint8Array.of(2));
    await came.promise;
    assert.deepEqual(heard, [w1]);
    await Promise.all([bus.close(), pretender.close(), honest.close(), second.close()]);
  });

  it('do not let it listen to what others are told, or to answers that are for others', async () => {
    await refusesSubscription(`${own.bus}.${w2.slice(0, 8)}.*.*.*`);
    await refusesSubscription(`${own.bus}.>`);
    await refusesSubscription(`${inboxPrefix(own.uid, 'w2')}.>`);
    await refusesSubscription('_INBOX.>');
    await refusesSubscription('$JS.EVENT.ADVISORY.>');
  });

  it('do not let it say what the log stored', () => refusesPublish(own.tail, 'x'));

  it('do not let it purge, delete, change or copy a stream, or delete an entry', async () => {
    for (const { stream } of [own, other]) {
      await refusesPublish(`$JS.API.STREAM.PURGE.${stream}`);
      await refusesPublish(`$JS.API.STREAM.DELETE.${stream}`);
      await refusesPublish(`$JS.API.STREAM.MSG.DELETE.${stream}`, { seq: 1 });
      await refusesPublish(`$JS.API.STREAM.UPDATE.${stream}`, { name: stream, max_bytes: 1 });
      await refusesPublish(`$JS.API.STREAM.SNAPSHOT.${stream}`);
      await refusesPublish(`$JS.API.STREAM.RESTORE.${stream}`);
      await refusesPublish(`$JS.API.STREAM.LEADER.STEPDOWN.${stream}`);
    }
    await refusesPublish('$JS.API.STREAM.CREATE.mine', { name: 'mine', subjects: ['mine'] });
    await refusesPublish('$JS.API.STREAM.LIST');
    await refusesPublish('$JS.API.STREAM.NAMES');
    await refusesPublish('$JS.API.INFO');
    await refusesPublish('$JS.API.ACCOUNT.PURGE.jobs');
    await refusesPublish('$SYS.REQ.SERVER.PING');
    assert.equal((await new NatsLog(admin, own).last())?.seq, 3);
  });

  it('do not let it make, change or remove a consumer, on its own stream or another one', async () => {
    for (const { stream } of [own, other]) {
      await refusesPublish(`$JS.API.CONSUMER.CREATE.${stream}`, { stream_name: stream, config: {} });
      await refusesPublish(`$JS.API.CONSUMER.CREATE.${stream}.mine`);
      await refusesPublish(`$JS.API.CONSUMER.CREATE.${stream}.mine.>`);
      await refusesPublish(`$JS.API.CONSUMER.DURABLE.CREATE.${stream}.mine`);
      await refusesPublish(`$JS.API.CONSUMER.DELETE.${stream}.mine`);
      await refusesPublish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.mine`);
      await refusesPublish(`$JS.API.CONSUMER.LIST.${stream}`);
    }
  });

  it('of another account show it nothing, and take nothing from it', async () => {
    const stranger = await open('stranger');
    await assert.rejects(checkStream(stranger, own), { code: 'NATS_STREAM_MISSING' });
    const log = new NatsLog(stranger, own, { timeoutMs: 300 });
    await assert.rejects(log.append(text('x'), { expectedLast: 3, id: 'x' }), { name: 'LogUnavailable' });
    await stranger.close();
  });

  it('of somebody who watches let it read and follow, and nothing else', async () => {
    const watcher = await open('watcher', { inboxPrefix: inboxPrefix(own.uid, 'watcher') });
    const log = new NatsLog(watcher, own);
    assert.deepEqual(await collect(log.read(1)), ['1:e1', '2:e2', '3:e3']);
    const tail = log.tail(3, new AbortController().signal)[Symbol.asyncIterator]();
    assert.equal((await tail.next()).value.entry.seq, 3);
    await assert.rejects(log.append(text('x'), { expectedLast: 3, id: 'x' }), { code: 'NATS_DENIED' });
    const refusal = nextRefusal(watcher);
    watcher.publish(broadcastSubject(own, w1), 'x');
    assert.match(await refusal, /^publish/);
    await watcher.close();
  });

  it('of a manager let it make, enlarge and remove streams within what the account may hold', async () => {
    const manager = await asManager();
    const names = jobNames(freshUid());
    await createStream(manager, names, { maxBytes: MAX_BYTES });
    const { config } = await createStream(manager, names, { maxBytes: 2 * MAX_BYTES });
    assert.equal(config.max_bytes, 2 * MAX_BYTES);
    // There was room for one stream more: the log comes first, and the run goes without a store.
    assert.equal(await NatsStore.find(admin, names), null);
    const tooMany = createStream(manager, jobNames(freshUid()), { maxBytes: MAX_BYTES });
    await assert.rejects(tooMany, { code: 'NATS_STREAM_INVALID', message: /maximum number of streams/ });
    const tooLarge = createStream(manager, names, { maxBytes: 1 << 21 });
    await assert.rejects(tooLarge, { code: 'NATS_STREAM_INVALID', message: /storage/ });
    assert.equal(await deleteStream(manager, names), true);
    assert.equal(await deleteStream(manager, names), false);
    const append = new NatsLog(manager, own).append(text('x'), { expectedLast: 3, id: 'x' });
    await assert.rejects(append, { code: 'NATS_DENIED' });
    await manager.close();
  });

  it('leave out consumers, because who may make one may have the server write into other logs', async () => {
    const maker = await open('maker');
    await worker.request(own.log, text('of w1'), { timeout: 1000 });
    const jsm = await jetstreamManager(maker, { checkAPI: false });
    await jsm.consumers.add(own.stream, {
      deliver_subject: other.log,
      deliver_policy: 'last',
      ack_policy: 'none',
    });
    const log = new NatsLog(admin, other);
    for (let last = 2; last < 3; last = (await log.last())!.seq);
    assert.deepEqual(await collect(log.read(3)), ['3:of w1']);
    // Even then the log goes on behind the foreign entry, and who follows it sees that one.
    const tail = log.tail(3, new AbortController().signal)[Symbol.asyncIterator]();
    await fill(log, 1, 3);
    assert.deepEqual(
      [await tail.next(), await tail.next()].map(({ value }) => value.entry.seq),
      [3, 4],
    );
    await log.close();
    await maker.close();
  });

  it('do not let even an administrator purge a log or delete from it', async () => {
    const jsm = await jetstreamManager(admin);
    await assert.rejects(jsm.streams.purge(own.stream), /purge/);
    await assert.rejects(jsm.streams.deleteMessage(own.stream, 1), /delete/);
    const { config } = await jsm.streams.info(own.stream);
    const soft = jsm.streams.update(own.stream, { ...config, deny_purge: false, deny_delete: false });
    await assert.rejects(soft, /deny/);
  });
});
