import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Bus } from '../../worker/bus/bus.ts';

/** One bus under test, without faults switched on. */
export interface BusHarness {
  /** An end of its own; messages to it are kept from here on. */
  join(id: string): Promise<Bus>;
  close(): Promise<void>;
}

/** What one end received, and a way to wait for it. */
class Inbox {
  readonly messages: string[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(bus: Bus) {
    bus.onMessage((from, data) => {
      this.messages.push(`${from}: ${[...data]}`);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    });
  }

  async until(count: number): Promise<string[]> {
    while (this.messages.length < count) await this.#changed.promise;
    return [...this.messages].sort();
  }
}

/** Registers what every implementation of `Bus` must do while nothing is lost. */
export function busContract(name: string, open: () => Promise<BusHarness>): void {
  describe(`${name}: the contract of a bus`, () => {
    let harness: BusHarness;
    let a: Bus;
    let b: Bus;
    let c: Bus;
    beforeEach(async () => {
      harness = await open();
      [a, b, c] = (await Promise.all(['a', 'b', 'c'].map((id) => harness.join(id)))) as [Bus, Bus, Bus];
    });
    afterEach(() => harness.close());

    it('knows who it is', () => {
      assert.deepEqual([a.self, b.self, c.self], ['a', 'b', 'c']);
    });

    it('carries a message to the one it is for, with its sender and its bytes', async () => {
      const [toB, toC] = [new Inbox(b), new Inbox(c)];
      const all = Uint8Array.from({ length: 256 }, (_, i) => i);
      a.send('b', all);
      c.send('b', new Uint8Array(0));
      assert.deepEqual(await toB.until(2), [`a: ${[...all]}`, 'c: ']);
      assert.deepEqual(toC.messages, []);
    });

    it('broadcasts to everybody else', async () => {
      const inboxes = [a, b, c].map((bus) => new Inbox(bus));
      a.broadcast(Uint8Array.of(1));
      b.broadcast(Uint8Array.of(2));
      assert.deepEqual(await inboxes[2]!.until(2), ['a: 1', 'b: 2']);
      assert.deepEqual(await inboxes[0]!.until(1), ['b: 2']);
      assert.deepEqual(await inboxes[1]!.until(1), ['a: 1']);
    });

    it('keeps the bytes as they were when sent, whatever becomes of the buffer', async () => {
      const inbox = new Inbox(b);
      const data = Uint8Array.of(1, 2, 3);
      a.send('b', data);
      a.broadcast(data);
      data.fill(0);
      assert.deepEqual(await inbox.until(2), ['a: 1,2,3', 'a: 1,2,3']);
    });

    it('drops a message to somebody who is not there', async () => {
      const inbox = new Inbox(b);
      a.send('nobody', Uint8Array.of(1));
      a.send('b', Uint8Array.of(2));
      assert.deepEqual(await inbox.until(1), ['a: 2']);
    });

    it('sends to itself when asked to', async () => {
      const inbox = new Inbox(a);
      a.send('a', Uint8Array.of(7));
      assert.deepEqual(await inbox.until(1), ['a: 7']);
    });

    it('neither sends nor receives after it is closed', async () => {
      const [toB, toC] = [new Inbox(b), new Inbox(c)];
      await b.close();
      a.send('b', Uint8Array.of(1));
      a.broadcast(Uint8Array.of(2));
      b.send('c', Uint8Array.of(3));
      assert.deepEqual(await toC.until(1), ['a: 2']);
      a.send('c', Uint8Array.of(4));
      assert.deepEqual(await toC.until(2), ['a: 2', 'a: 4']);
      assert.deepEqual(toB.messages, []);
    });

    it('carries many messages both ways', async () => {
      const [toA, toB] = [new Inbox(a), new Inbox(b)];
      for (let i = 0; i < 200; i++) {
        a.send('b', Uint8Array.of(i));
        b.send('a', Uint8Array.of(i));
      }
      assert.equal(new Set(await toA.until(200)).size, 200);
      assert.equal(new Set(await toB.until(200)).size, 200);
    });
  });
}
