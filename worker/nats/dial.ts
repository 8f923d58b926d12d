import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { NatsConnection } from '@nats-io/transport-node';

/** The socket by which a connection calls its server, or called it last. */
class Call {
  #socket: Socket | null = null;

  take(socket: Socket): void {
    this.giveUp();
    this.#socket = socket;
  }

  giveUp(): void {
    if (this.#socket?.connecting) this.#socket.destroy();
    this.#socket = null;
  }
}

const call = new AsyncLocalStorage<Call>();
subscribe('net.client.socket', (message) => call.getStore()?.take((message as { socket: Socket }).socket));

/**
 * Connects, and takes care of what the client forgets: the socket of a call to a server that does not answer, when it calls
 * again, or is closed meanwhile. The kernel would try for two minutes, and the process not end before.
 */
export async function dial(connect: () => Promise<NatsConnection>): Promise<NatsConnection> {
  const own = new Call();
  try {
    const connection = await call.run(own, connect);
    connection.closed().then(() => own.giveUp());
    return connection;
  } catch (error) {
    own.giveUp();
    throw error;
  }
}
