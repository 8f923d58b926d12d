import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import type { NatsConnection } from '@nats-io/transport-node';
import { NatsStore } from '../../worker/nats/store.ts';
import { sha256 } from '../../worker/store/store.ts';
import { missing } from '../tools/tool.ts';
import { TestJob } from './job.ts';
import { NatsSystem } from './server.ts';

const skip = await missing('nats-server');
/** Bytes a second, each way. */
const RATE = 64_000;
const TICK = 20;

/** A line to a server that carries so many bytes a second, each way. */
async function slowLine(port: number): Promise<{ port: number; end: () => void }> {
  const sockets = new Set<Socket>();
  const timers = new Set<NodeJS.Timeout>();
  const pump = (from: Socket, to: Socket) => {
    let waiting = Buffer.alloc(0);
    from.on('data', (data) => {
      waiting = Buffer.concat([waiting, data]);
      if (waiting.length > RATE) from.pause();
    });
    const timer = setInterval(() => {
      const share = (RATE * TICK) / 1000;
      if (waiting.length > 0) to.write(waiting.subarray(0, share));
      waiting = waiting.subarray(share);
      if (waiting.length <= RATE) from.resume();
    }, TICK);
    timers.add(timer);
    sockets.add(from);
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  };
  const server: Server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    pump(near, far);
    pump(far, near);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = () => {
    server.close();
    for (const timer of timers) clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  };
  return { port: (server.address() as AddressInfo).port, end };
}

describe('the store of a job behind a slow line', { skip }, () => {
  let system: NatsSystem;
  let job: TestJob;
  let line: Awaited<ReturnType<typeof slowLine>>;
  let slow: NatsStore;
  before(async () => {
    system = await NatsSystem.start();
    job = await TestJob.make(system, 1 << 24);
    line = await slowLine(Number(new URL(system.url()).port));
    const connection = await job.connect({ servers: [`nats://127.0.0.1:${line.port}`] });
    slow = new NatsStore(connection, job.names);
  });
  after(async () => {
    await job.close();
    line.end();
    await system.end();
  });
  const random = (length: number) => Uint8Array.from({ length }, (_, i) => Math.imul(i, 2654435761) >>> 24);

  it('takes and gives what needs longer than the wait for an answer', async () => {
    const bytes = random(2.5 * RATE);
    assert.equal(await slow.putArtifact(sha256(bytes), bytes), true);
    assert.deepEqual(await slow.getArtifact(sha256(bytes)), bytes);
  });

  it('is spared a snapshot that would take its line for minutes', async () => {
    const bytes = random(200 * RATE);
    const index = { digest: sha256(bytes), bytes: bytes.length, seq: 5, round: 3 };
    assert.equal(await slow.putSnapshot(index, bytes), null);
    const small = random(RATE / 2);
    const other = { digest: sha256(small), bytes: small.length, seq: 6, round: 4 };
    assert.notEqual(await slow.putSnapshot(other, small), null);
    assert.deepEqual(await slow.snapshots(), [other]);
    assert.deepEqual(await slow.getSnapshot(other), small);
  });
});

describe('a store that a hostile worker writes to', { skip }, () => {
  let system: NatsSystem;
  let job: TestJob;
  let connection: NatsConnection;
  before(async () => {
    system = await NatsSystem.start();
  });
  beforeEach(async () => {
    job = await TestJob.make(system, 1 << 24);
    connection = await job.connect();
  });
  afterEach(() => job.close());
  after(() => system.end());

  const snapshot = (seq: number, length: number) => {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + seq) & 255);
    return { bytes, index: { digest: sha256(bytes), bytes: length, seq, round: seq } };
  };
  const write = (name: string, data: string | Uint8Array) =>
    connection.request(`${job.names.store}.${name}`, data);
  const forge = (place: number, index: object) => write(`snapshot.${place}.index`, JSON.stringify(index));

  it('gives no room to what is said to be large, and finds the honest snapshot beside it', async () => {
    const honest = snapshot(5, 20_000);
    const store = new NatsStore(connection, job.names);
    await store.putSnapshot(honest.index, honest.bytes);
    for (const bytes of [68719476736, Number.MAX_SAFE_INTEGER, 1 << 30]) {
      const huge = { digest: 'ab'.repeat(32), bytes, seq: Number.MAX_SAFE_INTEGER, round: 7 };
      await forge(1, huge);
      await write('snapshot.1.0', new Uint8Array(1 << 16));
      const fresh = new NatsStore(connection, job.names);
      assert.deepEqual(await fresh.snapshots(), [huge, honest.index]);
      assert.equal(await fresh.getSnapshot(huge), null);
      assert.deepEqual(await fresh.getSnapshot(honest.index), honest.bytes);
    }
    const digest = 'cd'.repeat(32);
    await write(`artifact.${digest}.size`, '68719476736');
    await write(`artifact.${digest}.0`, new Uint8Array(1 << 16));
    assert.equal(await store.getArtifact(digest), null);
  });

  it('asks for nothing after the first piece that is missing', async () => {
    const store = new NatsStore(connection, job.names);
    const claimed = { digest: 'ab'.repeat(32), bytes: 1 << 15, seq: 9, round: 7 };
    await forge(0, claimed);
    await write('snapshot.0.0', new Uint8Array(1));
    await write('snapshot.0.1', new Uint8Array(1));
    const before = connection.stats().outMsgs;
    assert.equal(await store.getSnapshot(claimed), null);
    assert.ok(connection.stats().outMsgs - before < 20, `${connection.stats().outMsgs - before}`);
  });

  it('finds an honest snapshot though another place bears its name', async () => {
    const honest = snapshot(5, 20_000);
    const store = new NatsStore(connection, job.names);
    await store.putSnapshot(honest.index, honest.bytes);
    const again = { ...honest.index, seq: 6 };
    await forge(1, again);
    await write(
      'snapshot.1.0',
      honest.bytes.map((byte) => byte ^ 1),
    );
    for (const index of await store.snapshots())
      assert.deepEqual(await store.getSnapshot(index), honest.bytes);
  });

  it('gives the place of what claims to be newer than the run to the next honest snapshot', async () => {
    const store = new NatsStore(connection, job.names);
    await forge(0, { digest: 'ab'.repeat(32), bytes: 1, seq: Number.MAX_SAFE_INTEGER, round: 7 });
    const [first, second] = [snapshot(5, 20_000), snapshot(8, 30_000)];
    for (const { index, bytes } of [first, second]) await store.putSnapshot(index, bytes);
    assert.deepEqual(await store.snapshots(), [second.index, first.index]);
    for (const { index, bytes } of [first, second]) assert.deepEqual(await store.getSnapshot(index), bytes);
  });
});
