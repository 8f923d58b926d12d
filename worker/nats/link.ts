import type { Socket } from 'node:net';
import { type NatsConnection, PermissionViolationError } from '@nats-io/transport-node';

/** Bytes on the socket, protocol and repetition of lost connections included; with TLS before encryption. */
export interface SocketBytes {
  readonly sent: number;
  readonly received: number;
}

/** What a connection was opened with, for those who only have the connection. */
export interface LinkOptions {
  readonly servers: readonly string[];
  readonly inboxPrefix: string;
}

/** Whether a connection is up, for those who must not wait for a server that cannot hear them. */
export class Link {
  readonly connection: NatsConnection;
  #up = true;
  readonly #handlers = new Set<(up: boolean) => void>();
  readonly #refusals = new Set<(error: PermissionViolationError) => void>();
  #socket: Socket | null = null;
  readonly #before = { sent: 0, received: 0 };
  #reconnects = 0;
  options: LinkOptions = { servers: [], inboxPrefix: '_INBOX' };

  private constructor(connection: NatsConnection) {
    this.connection = connection;
    this.#sample();
    this.#watch().catch(() => {});
    connection.closed().then(() => this.#set(false));
  }

  static readonly #links = new WeakMap<NatsConnection, Link>();

  /** The one link of a connection. */
  static of(connection: NatsConnection): Link {
    let link = Link.#links.get(connection);
    if (link === undefined) Link.#links.set(connection, (link = new Link(connection)));
    return link;
  }

  get up(): boolean {
    return this.#up;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  /** Calls back whenever the link goes down or up, until the result is called. */
  onChange(handler: (up: boolean) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Calls back when the server refuses a subject, until the result is called. */
  onRefusal(handler: (error: PermissionViolationError) => void): () => void {
    this.#refusals.add(handler);
    return () => this.#refusals.delete(handler);
  }

  /** Resolves, once the link is up, it has ended for good or `ms` have passed, to whether it is up. */
  async whenUp(ms: number): Promise<boolean> {
    if (this.#up || this.connection.isClosed()) return this.#up;
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        stop();
        resolve(this.#up);
      };
      const timer = setTimeout(settle, ms);
      const stop = this.onChange(settle);
    });
  }

  get bytes(): SocketBytes {
    this.#sample();
    const { sent, received } = this.#before;
    return {
      sent: sent + (this.#socket?.bytesWritten ?? 0),
      received: received + (this.#socket?.bytesRead ?? 0),
    };
  }

  async #watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      const { type } = status;
      if (type === 'error') {
        if (status.error instanceof PermissionViolationError)
          for (const handler of [...this.#refusals]) handler(status.error);
      } else if (type === 'disconnect') this.#set(false);
      else if (type === 'reconnect') {
        this.#reconnects++;
        this.#set(true);
      }
      if (type === 'disconnect' || type === 'reconnect' || type === 'reconnecting') this.#sample();
    }
  }

  #set(up: boolean): void {
    if (this.#up === up && !this.connection.isClosed()) return;
    this.#up = up;
    for (const handler of [...this.#handlers]) handler(up);
  }

  /** Keeps the counters of a socket that was replaced. The client has no public way to its socket. */
  #sample(): void {
    const { protocol } = this.connection as unknown as { protocol?: { transport?: { socket?: Socket } } };
    const socket = protocol?.transport?.socket ?? null;
    if (socket === null || socket === this.#socket) return;
    this.#before.sent += this.#socket?.bytesWritten ?? 0;
    this.#before.received += this.#socket?.bytesRead ?? 0;
    this.#socket = socket;
  }
}
