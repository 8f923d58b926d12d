import { errors, type NatsConnection } from '@nats-io/transport-node';
import { deniedError, isClosed, isDenied, saysNobody, unavailable } from '../nats/failure.ts';
import { broadcastSubject, busSubscriptions, type JobNames } from '../nats/names.ts';

/** Workers that prepare a new run, seen from one of them. */
export interface Preparers {
  /** Whether another is at it; where one is, the answer takes all of the time. */
  anybody(withinMs: number): Promise<boolean>;
  /** This worker is at it now. @returns what says that it no longer is */
  begin(): () => void;
}

/**
 * Of a job on NATS. Who prepares its run listens on its bus meanwhile, and a server says at once when nobody hears a request:
 * so there is nothing to answer, and who dies is gone with its connection.
 */
export class NatsPreparers implements Preparers {
  readonly #connection: NatsConnection;
  readonly #ask: string;
  readonly #hear: string;

  /** @param self id of this life of the worker (`memberId`) */
  constructor(connection: NatsConnection, names: JobNames, self: string) {
    this.#connection = connection;
    this.#ask = broadcastSubject(names, self);
    this.#hear = busSubscriptions(names, self)[1];
  }

  /**
   * A lost connection looks like somebody.
   * @throws LogUnavailable where the connection is closed; OnebyteError NATS_DENIED
   */
  async anybody(withinMs: number): Promise<boolean> {
    try {
      await this.#connection.request(this.#ask, undefined, { timeout: withinMs });
    } catch (error) {
      if (saysNobody(error)) return false;
      if (isDenied(error)) throw deniedError(error);
      if (isClosed(error, this.#connection)) throw unavailable('there is no connection to NATS', error);
      if (!(error instanceof errors.TimeoutError)) throw error;
    }
    return true;
  }

  begin(): () => void {
    const subscription = this.#connection.subscribe(this.#hear, { callback: () => {} });
    return () => subscription.unsubscribe();
  }
}
