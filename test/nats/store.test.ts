import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
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
