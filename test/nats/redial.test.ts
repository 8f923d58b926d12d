import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Server } from '@nats-io/transport-node';
import fc from 'fast-check';
import { redial } from '../../worker/nats/redial.ts';

const named = (listen: string) => ({ listen }) as Server;

describe('what says when a server is called again', () => {
  it('calls each server at once, and again after a pause, whatever the wall clock says', () => {
    let now = 0;
    const { reconnectDelayHandler, reconnectToServer } = redial(
      () => now,
      () => 0.5,
    );
    const [a, b] = [named('a:1'), named('b:2')];
    const next = (...pool: Server[]) => reconnectToServer(pool, null);
    assert.equal(reconnectDelayHandler(), Number.NEGATIVE_INFINITY);
    assert.deepEqual(next(a, b), { server: a, delay: 0 });
    now = 10;
    assert.deepEqual(next(b, a), { server: b, delay: 0 });
    now = 20;
    assert.deepEqual(next(a, b), { server: a, delay: 355 });
    now = 10_000;
    assert.deepEqual(next(b, a), { server: b, delay: 0 });
    assert.equal(next(), null);
  });

  it('never waits longer than half a second, nor calls one server twice in a quarter of one', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(900), fc.constantFrom('a:1', 'b:2'))), (calls) => {
        let now = 0;
        const { reconnectToServer } = redial(() => now);
        const last = new Map<string, number>();
        for (const [pause, listen] of calls) {
          now += pause;
          const next = reconnectToServer([named(listen)], null) as { delay: number };
          assert.ok(next.delay >= 0 && next.delay <= 500);
          now += next.delay;
          assert.ok(now - (last.get(listen) ?? -250) >= 250 - 1e-6);
          last.set(listen, now);
        }
      }),
    );
  });
});
