import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { openNats } from '../../worker/nats/connect.ts';
import { dial } from '../../worker/nats/dial.ts';
import { missing } from '../tools/tool.ts';
import { NatsSystem } from './server.ts';

const skip = await missing('nats-server');

/** Passes bytes on to the port that it is given, and says by which it is reached. Few may wait until it takes their call. */
const RELAY = `
const { connect, createServer } = require('node:net');
const relay = createServer((one) => {
  const other = connect(Number(process.argv[1]), '127.0.0.1');
  one.on('error', () => other.destroy()).pipe(other);
  other.on('error', () => one.destroy()).pipe(one);
});
relay.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(relay.address().port));
`;

/** Calls until nobody takes one any more. */
async function fillQueue(port: number): Promise<Socket[]> {
  for (const sockets: Socket[] = []; ; ) {
    const socket = createConnection(port, '127.0.0.1').on('error', () => undefined);
    sockets.push(socket);
    await Promise.race([once(socket, 'connect'), sleep(500)]);
    // Who could not look for so long sees timers first, and only then who has taken a call.
    await sleep(1);
    if (socket.connecting) return sockets;
  }
}

/** Sockets that are made while `act` runs. */
async function socketsOf(act: () => Promise<void>): Promise<Socket[]> {
  const sockets: Socket[] = [];
  const see = (message: unknown) => void sockets.push((message as { socket: Socket }).socket);
  subscribe('net.client.socket', see);
  try {
    await act();
    return sockets;
  } finally {
    unsubscribe('net.client.socket', see);
  }
}

function breakOff(connection: NatsConnection): void {
  const { protocol } = connection as unknown as { protocol: { transport: { socket: Socket } } };
  protocol.transport.socket.destroy();
}

/** As the client calls: twice, for nobody answered, and then it is let in or not. */
function twice(
  port: number,
  closed: Promise<void>,
): { calls: Socket[]; connect: () => Promise<NatsConnection> } {
  const calls: Socket[] = [];
  const connect = async () => {
    for (let i = 0; i < 2; i++) calls.push(createConnection(port, '127.0.0.1').on('error', () => undefined));
    return { closed: () => closed } as unknown as NatsConnection;
  };
  return { calls, connect };
}

const destroyed = (sockets: readonly Socket[]) => sockets.map((socket) => socket.destroyed);

describe('the calls of a connection', () => {
  it('are given up at the next one and at the end, those under way alone, and nobody else is touched', async () => {
    const server = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const stranger = createConnection(port, '127.0.0.1').on('error', () => undefined);
    const [early, late] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const [one, other] = [twice(port, early.promise), twice(port, late.promise)];
    try {
      await Promise.all([dial(one.connect), dial(other.connect)]);
      assert.deepEqual(
        [destroyed(one.calls), destroyed(other.calls)],
        [
          [true, false],
          [true, false],
        ],
      );
      early.resolve();
      await early.promise;
      await once(other.calls[1]!, 'connect');
      late.resolve();
      await sleep(1);
      assert.deepEqual(
        [destroyed(one.calls), destroyed(other.calls)],
        [
          [true, true],
          [true, false],
        ],
      );
      assert.equal(stranger.destroyed, false);
    } finally {
      for (const socket of [stranger, ...one.calls, ...other.calls]) socket.destroy();
      server.close();
    }
  });
});

describe('a connection that is closed as it calls a server that is silent', { skip }, () => {
  it('leaves no socket that would keep the process', async () => {
    const system = await NatsSystem.start({});
    const upstream = new URL(system.url()).port;
    const relay = spawn(process.execPath, ['-e', RELAY, upstream], { stdio: ['ignore', 'pipe', 'inherit'] });
    let queued: Socket[] = [];
    try {
      const port = Number(String((await once(relay.stdout!, 'data'))[0]));
      const connection = await openNats({ servers: [`nats://127.0.0.1:${port}`] });
      relay.kill('SIGSTOP');
      queued = await fillQueue(port);
      const calls = await socketsOf(async () => {
        breakOff(connection);
        await sleep(1000);
      });
      assert.deepEqual(
        calls.map(({ connecting, destroyed }) => ({ connecting, destroyed })),
        [{ connecting: true, destroyed: false }],
      );
      await connection.close();
      await sleep(0);
      assert.deepEqual(destroyed(calls), [true]);
    } finally {
      for (const socket of queued) socket.destroy();
      relay.kill('SIGKILL');
      await system.end();
    }
  });
});
