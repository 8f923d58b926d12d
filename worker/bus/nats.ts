import type { NatsConnection, Subscription } from '@nats-io/transport-node';
import type { OnebyteError } from '../errors.ts';
import { deniedError } from '../nats/failure.ts';
import { Link } from '../nats/link.ts';
import { broadcastSubject, busSubscriptions, directSubject, type JobNames, senderOf } from '../nats/names.ts';
import type { Bus } from './bus.ts';

/** Senders remembered; members beyond that cost a little more. */
const MAX_SENDERS = 8192;

/**
 * A job's bus on core NATS: nothing is stored, and what is sent while there is no connection is lost. The credentials
 * bind the sender's part of a subject, so `from` is who it says (see `permissions.ts`). The connection stays its owner's.
 */
export class NatsBus implements Bus {
  readonly self: string;
  /** Payload bytes of messages, by direction. */
  readonly payload = { sent: 0, received: 0 };
  readonly #connection: NatsConnection;
  readonly #link: Link;
  readonly names: JobNames;
  readonly #subscriptions: readonly Subscription[];
  readonly #broadcast: string;
  /** By receiver. */
  readonly #subjects = new Map<string, string>();
  /** By subject. */
  readonly #senders = new Map<string, string | null>();
  readonly #unlink: () => void;
  #handler: (from: string, data: Uint8Array) => void = () => {};
  #open = true;

  /** @param onDenied is told when the credentials do not allow to speak or listen as `self`: nobody hears this end then */
  constructor(
    connection: NatsConnection,
    names: JobNames,
    self: string,
    onDenied: (error: OnebyteError) => void = () => {},
  ) {
    this.self = self;
    this.#connection = connection;
    this.#link = Link.of(connection);
    this.names = names;
    this.#broadcast = broadcastSubject(names, self);
    this.#unlink = this.#link.onRefusal((error) => {
      if (error.subject.startsWith(`${names.bus}.`)) onDenied(deniedError(error));
    });
    const [direct, broadcast] = busSubscriptions(names, self);
    this.#subscriptions = [
      connection.subscribe(direct, { callback: (error, message) => this.#receive(error, message, true) }),
      connection.subscribe(broadcast, { callback: (error, message) => this.#receive(error, message, false) }),
    ];
  }

  /** Resolves once the server has this end's subscriptions. */
  async ready(): Promise<void> {
    await this.#connection.flush();
  }

  send(to: string, data: Uint8Array): void {
    let subject = this.#subjects.get(to);
    if (subject === undefined) this.#subjects.set(to, (subject = directSubject(this.names, to, this.self)));
    this.#publish(subject, data);
  }

  broadcast(data: Uint8Array): void {
    this.#publish(this.#broadcast, data);
  }

  onMessage(handler: (from: string, data: Uint8Array) => void): void {
    this.#handler = handler;
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#unlink();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  #publish(subject: string, data: Uint8Array): void {
    if (!this.#open || !this.#link.up || this.#connection.isClosed()) return;
    this.payload.sent += data.length;
    this.#connection.publish(subject, new Uint8Array(data));
  }

  #senderOf(subject: string): string | null {
    let from = this.#senders.get(subject);
    if (from === undefined) {
      from = senderOf(this.names, subject);
      if (this.#senders.size < MAX_SENDERS) this.#senders.set(subject, from);
    }
    return from;
  }

  #receive(error: Error | null, message: { subject: string; data: Uint8Array }, direct: boolean): void {
    if (error !== null || !this.#open) return;
    const from = this.#senderOf(message.subject);
    if (from === null || (!direct && from === this.self)) return;
    this.payload.received += message.data.length;
    this.#handler(from, new Uint8Array(message.data));
  }
}
