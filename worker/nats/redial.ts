import type { ConnectionOptions } from '@nats-io/transport-node';

/** Milliseconds between two calls to one server that does not answer: this, and up to as much again by chance. */
const WAIT = 250;

/**
 * When to dial which server again, by a clock that never goes back. The client itself goes by the wall clock: had that
 * been set back by hours, a broken connection would stay broken for as long.
 * @param now milliseconds @param random in [0, 1)
 */
export function redial(
  now: () => number = () => performance.now(),
  random: () => number = Math.random,
): Required<Pick<ConnectionOptions, 'reconnectDelayHandler' | 'reconnectToServer'>> {
  /** When each server was dialled last. */
  const dialled = new Map<string, number>();
  return {
    // At once, whatever the wall clock says; the wait follows below.
    reconnectDelayHandler: () => Number.NEGATIVE_INFINITY,
    reconnectToServer: ([server]) => {
      if (server === undefined) return null;
      const last = dialled.get(server.listen) ?? Number.NEGATIVE_INFINITY;
      const delay = Math.max(0, last + WAIT * (1 + random()) - now());
      dialled.set(server.listen, now() + delay);
      return { server, delay };
    },
  };
}
