import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { jetstreamManager, type StreamConfig } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { LogFull, LogUnavailable } from '../../worker/log/log.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import { openNats } from '../../worker/nats/connect.ts';
import { type JobNames, jobNames, METADATA } from '../../worker/nats/names.ts';
import { checkStream, createStream, deleteStream, waitForStream } from '../../worker/nats/stream.ts';
import { collect, fill, text } from '../log/contract.ts';
import { missing } from '../tools/tool.ts';
import { freshUid } from './job.ts';
import { NatsSystem } from './server.ts';

const skip = await missing('nats-server');
const MAX_BYTES = 1 << 16;

describe('the stream of a job', { skip }, () => {
  let system: NatsSystem;
  let connection: NatsConnection;
  before(async () => {
    system = await NatsSystem.start();
    connection = await openNats({ servers: system.urls });
  });
  after(async () => {
    await connection.close();
    await system.end();
  });

  /** The stream that `createStream` would have made, but for some changes. */
  async function makeOther(names: JobNames, changes: Partial<StreamConfig>): Promise<void> {
    const model = jobNames(freshUid());
    const { config } = await createStream(connection, model, { maxBytes: MAX_BYTES });
    await deleteStream(connection, model);
    const jsm = await jetstreamManager(connection);
    await jsm.streams.add({
      ...(config as StreamConfig),
      name: names.stream,
      subjects: [names.log],
      republish: { src: names.log, dest: names.tail },
      metadata: { [METADATA.format]: '1', [METADATA.uid]: names.uid },
      ...changes,
    });
  }

  it('keeps everything, refuses what does not fit, and cannot be thinned out', async () => {
    const names = jobNames(freshUid());
    const { config } = await createStream(connection, names, { maxBytes: MAX_BYTES });
    assert.partialDeepStrictEqual(config, {
      name: names.stream,
      subjects: [names.log],
      storage: 'file',
      discard: 'new',
      max_bytes: MAX_BYTES,
      max_age: 0,
      max_consumers: 1,
      deny_delete: true,
      deny_purge: true,
      allow_direct: true,
    });
    assert.deepEqual((await checkStream(connection, names)).config, config);
  });

  it('may be made again, and is what it was', async () => {
    const names = jobNames(freshUid());
    const options = { maxBytes: MAX_BYTES };
    await createStream(connection, names, options);
    await fill(new NatsLog(connection, names), 2);
    const made = await Promise.all([1, 2, 3].map(() => createStream(connection, names, options)));
    assert.deepEqual(
      made.map(({ state }) => state.last_seq),
      [2, 2, 2],
    );
  });

  it('may be given more room, and never less', async () => {
    const names = jobNames(freshUid());
    await createStream(connection, names, { maxBytes: MAX_BYTES });
    for (const factor of [2, 1]) {
      const { config } = await createStream(connection, names, { maxBytes: factor * MAX_BYTES });
      assert.equal(config.max_bytes, 2 * MAX_BYTES);
    }
  });

  it('may be made by several at once', async () => {
    const names = jobNames(freshUid());
    const made = await Promise.all(
      [1, 2, 3, 4].map(() => createStream(connection, names, { maxBytes: MAX_BYTES })),
    );
    assert.deepEqual(new Set(made.map(({ config }) => config.name)), new Set([names.stream]));
  });

  it('is waited for while it is not there', async () => {
    const names = jobNames(freshUid());
    const waiting = waitForStream(connection, names, new AbortController().signal);
    await assert.rejects(checkStream(connection, names), { code: 'NATS_STREAM_MISSING' });
    await createStream(connection, names, { maxBytes: MAX_BYTES });
    assert.equal((await waiting).config.name, names.stream);
  });

  it('is waited for no longer than told', async () => {
    const stop = new AbortController();
    const waiting = waitForStream(connection, jobNames(freshUid()), stop.signal);
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
  });

  it('is made without a store where there is no room for one, unless the run needs it: then there is no log either', async () => {
    const small = await NatsSystem.start({ jetstream: { max_file_store: 1 << 20 } });
    const client = await openNats({ servers: small.urls });
    try {
      const options = { maxBytes: MAX_BYTES, storeBytes: 1 << 24 };
      const names = jobNames(freshUid());
      const refused = {
        code: 'NATS_STREAM_INVALID',
        message: /will not keep .*-store: .*activation basis.*ONEBYTE_STORE/,
      };
      await assert.rejects(createStream(client, names, { ...options, needsStore: true }), refused);
      await assert.rejects(checkStream(client, names), { code: 'NATS_STREAM_MISSING' });
      await createStream(client, names, { ...options, storeBytes: MAX_BYTES, needsStore: true });
      // It is there: that it cannot grow holds nothing up.
      await createStream(client, names, { ...options, needsStore: true });

      const other = jobNames(freshUid());
      await createStream(client, other, options);
      await checkStream(client, other);
      // Nor does one that there is no room for hold up a log that is there.
      const more = { ...options, maxBytes: 2 * MAX_BYTES, needsStore: true };
      assert.equal((await createStream(client, other, more)).config.max_bytes, 2 * MAX_BYTES);
    } finally {
      await client.close();
      await small.end();
    }
  });

  const strange: [string, Partial<StreamConfig> | ((names: JobNames) => Partial<StreamConfig>), RegExp][] = [
    ['of no format', { metadata: {} }, /it is of format unknown, this program writes format 1/],
    ['of another version', { metadata: { [METADATA.format]: '2' } }, /it is of format 2/],
    [
      'of another job',
      { metadata: { [METADATA.format]: '1', [METADATA.uid]: 'other' } },
      /it belongs to job other/,
    ],
    ['that drops old entries', { discard: 'old' }, /it discards old entries/],
    ['whose entries expire', { max_age: 3600e9 }, /its entries expire/],
    ['whose entries can be deleted', { deny_delete: false }, /its entries can be deleted/],
    ['that can be purged', { deny_purge: false }, /it can be purged/],
    ['without direct access', { allow_direct: false }, /it has no direct access/],
    [
      'that tells nobody',
      ({ log }) => ({ republish: { src: log, dest: `${log}.elsewhere` } }),
      /it does not republish/,
    ],
    ['with more subjects', ({ log }) => ({ subjects: [log, `${log}.2`] }), /its subject is not/],
  ];
  for (const [what, changes, message] of strange)
    it(`${what} is refused, and left as it is`, async () => {
      const names = jobNames(freshUid());
      await makeOther(names, typeof changes === 'function' ? changes(names) : changes);
      const refused = { code: 'NATS_STREAM_INVALID', message };
      await assert.rejects(checkStream(connection, names), refused);
      await assert.rejects(createStream(connection, names, { maxBytes: MAX_BYTES }), refused);
      await assert.rejects(waitForStream(connection, names, new AbortController().signal), refused);
    });

  it('is not to be had where JetStream is off, or has no leader', async () => {
    const off = await NatsSystem.start({ jetstream: null });
    const other = await openNats({ servers: off.urls });
    // Whatever time is left for the last try, which may hear nothing at all.
    for (let timeoutMs = 101; timeoutMs < 110; timeoutMs++)
      await assert.rejects(checkStream(other, jobNames('u'), { timeoutMs }), {
        name: 'LogUnavailable',
        message: /JetStream does not answer/,
      });
    // What servers say that have not chosen who leads them.
    const answer = JSON.stringify({ error: { err_code: 10008, description: 'temporarily unavailable' } });
    other.subscribe('$JS.API.STREAM.INFO.*', { callback: (_, message) => void message.respond(answer) });
    for (const timeoutMs of [100, 130, 160, 190])
      await assert.rejects(checkStream(other, jobNames('u'), { timeoutMs }), { name: 'LogUnavailable' });
    await other.close();
    await off.end();
  });

  it('takes no entry larger than the server allows, and goes on after', async () => {
    const names = jobNames(freshUid());
    await createStream(connection, names, { maxBytes: 1 << 22 });
    const log = new NatsLog(connection, names);
    const large = new Uint8Array(1 << 20);
    await assert.rejects(log.append(large, { expectedLast: 0, id: 'large' }), LogFull);
    await log.append(large.subarray(0, 1 << 19), { expectedLast: 0, id: 'fits' });
    await fill(log, 1, 1);
    const sizes: number[] = [];
    for await (const { data } of log.read(1)) sizes.push(data.length);
    assert.deepEqual(sizes, [1 << 19, 2]);
    const tail = log.tail(1, new AbortController().signal)[Symbol.asyncIterator]();
    assert.equal((await tail.next()).value.entry.data.length, 1 << 19);
    assert.equal((await tail.next()).value.entry.seq, 2);
    await log.close();
  });

  it('takes no more once it is full, and again when it was given more room', async () => {
    const names = jobNames(freshUid());
    await createStream(connection, names, { maxBytes: 1000 });
    const log = new NatsLog(connection, names);
    await log.append(new Uint8Array(500), { expectedLast: 0, id: 'a' });
    const second = { expectedLast: 1, id: 'b' };
    await assert.rejects(log.append(new Uint8Array(500), second), LogFull);
    await createStream(connection, names, { maxBytes: 2000 });
    assert.equal(await log.append(new Uint8Array(500), second), 2);
  });

  const mounts = process.getuid?.() === 0 && spawnSync('mount', ['--version']).status === 0;
  it('loses nothing on a full disk, and goes on when its server starts with more room', {
    skip: mounts ? false : 'mounting a small file system needs root',
  }, async () => {
    const place = mkdtempSync(join(tmpdir(), 'onebyte-disk-'));
    const mount = (options: string, ...rest: string[]) =>
      execFileSync('mount', ['-t', 'tmpfs', '-o', options, ...rest, 'tmpfs', place], { stdio: 'ignore' });
    mount('size=1m');
    const small = await NatsSystem.start({ jetstream: { store_dir: place, max_file_store: 1 << 30 } });
    const client = await openNats({ servers: small.urls });
    try {
      const names = jobNames(freshUid());
      await createStream(client, names, { maxBytes: 1 << 24 });
      const log = new NatsLog(client, names, { timeoutMs: 1000 });
      const data = new Uint8Array(100_000);
      let last = 0;
      const next = () => log.append(data, { expectedLast: last, id: `${last}` });
      const refusal = await (async () => {
        for (;;) last = await next();
      })().catch((error: Error) => error);
      assert.equal(refusal.name, 'LogUnavailable');
      assert.ok(last > 3);
      assert.equal((await log.last())?.seq, last);
      // A server that could not write tries no more until it starts anew.
      await small.kill();
      mount('remount,size=4m');
      await small.start();
      assert.equal(await next(), last + 1);
      let sizes = 0;
      for await (const entry of log.read(1)) sizes += entry.data.length;
      assert.equal(sizes, (last + 1) * data.length);
    } finally {
      await client.close();
      await small.end();
      execFileSync('umount', [place]);
      rmSync(place, { recursive: true });
    }
  });

  it('has its store on as many servers as itself, also when these change', async () => {
    const three = await NatsSystem.start({ count: 3 });
    const client = await openNats({ servers: three.urls });
    try {
      const names = jobNames(freshUid());
      for (const replicas of [1, 3]) {
        // The first one waits until the servers have chosen who leads.
        for (let tries = 0; ; tries++)
          try {
            await createStream(client, names, { maxBytes: MAX_BYTES, storeBytes: 2 * MAX_BYTES, replicas });
            break;
          } catch (error) {
            if (tries === 10 || !(error instanceof LogUnavailable)) throw error;
          }
        const jsm = await jetstreamManager(client);
        for (const stream of [names.stream, names.storeStream])
          assert.equal((await jsm.streams.info(stream)).config.num_replicas, replicas, stream);
      }
      // Copies change, and the room that there is stays.
      await createStream(client, names, { maxBytes: MAX_BYTES, storeBytes: MAX_BYTES, replicas: 1 });
      const { config } = await (await jetstreamManager(client)).streams.info(names.storeStream);
      assert.deepEqual([config.num_replicas, config.max_bytes], [1, 2 * MAX_BYTES]);
    } finally {
      await client.close();
      await three.end();
    }
  });

  it('tells its readers when it was deleted and made anew', async () => {
    const names = jobNames(freshUid());
    await createStream(connection, names, { maxBytes: MAX_BYTES });
    const log = new NatsLog(connection, names);
    await fill(log, 3);
    const tail = log.tail(1, new AbortController().signal)[Symbol.asyncIterator]();
    for (let seq = 1; seq <= 3; seq++) assert.equal((await tail.next()).value.entry.seq, seq);
    await deleteStream(connection, names);
    await createStream(connection, names, { maxBytes: MAX_BYTES });
    await log.append(text('other'), { expectedLast: 0, id: 'other' });
    assert.deepEqual((await tail.next()).value, { type: 'truncated', last: 0 });
    assert.equal((await tail.next()).value.entry.seq, 1);
    assert.deepEqual(await collect(log.read(1)), ['1:other']);
    await log.close();
  });
});
