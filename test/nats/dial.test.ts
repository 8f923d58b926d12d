import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { openNats } from '../../worker/nats/connect.ts';
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
    if (!(await Promise.race([once(socket, 'connect'), sleep(500, false)]))) return sockets;
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
      assert.deepEqual(
        calls.map(({ destroyed }) => destroyed),
        [true],
      );
    } finally {
      for (const socket of queued) socket.destroy();
      relay.kill('SIGKILL');
      await system.end();
    }
  });
});
