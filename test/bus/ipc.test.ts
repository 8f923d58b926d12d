import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { Bus } from '../../worker/bus/bus.ts';
import { BusHub, IpcBus } from '../../worker/bus/ipc.ts';
import { childChannel, portChannel, type Traffic } from '../../worker/log/channel.ts';
import { busContract } from './contract.ts';
import type { RelayMessage } from './relay-message.ts';

busContract('the bus within a process', async () => {
  const hub = new BusHub();
  return { join: async (id) => hub.local(id), close: async () => {} };
});

busContract('the bus over message ports', async () => {
  const hub = new BusHub();
  const channels: MessageChannel[] = [];
  return {
    join: async (id) => {
      const channel = new MessageChannel();
      channels.push(channel);
      hub.attach(portChannel(channel.port1));
      const bus = new IpcBus(portChannel(channel.port2), id);
      // Hello has arrived once something that was sent after it comes back.
      await new Promise<void>((resolve) => {
        bus.onMessage(() => resolve());
        bus.send(id, new Uint8Array(1));
      });
      bus.onMessage(() => {});
      return bus;
    },
    close: async () => {
      for (const { port1 } of channels) port1.close();
    },
  };
});

/** An end of the bus that lives in a child process. */
async function remote(hub: BusHub, id: string): Promise<{ bus: Bus; child: ChildProcess; traffic: Traffic }> {
  const child = fork(join(import.meta.dirname, 'relay.ts'), [id], { serialization: 'advanced' });
  const channel = childChannel(child);
  const { traffic } = hub.attach(channel);
  const post = (message: RelayMessage) => channel.post(message);
  let handler: (from: string, data: Uint8Array) => void = () => {};
  const ready = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  channel.onMessage((raw) => {
    const message = raw as RelayMessage;
    if (message.plane !== 'relay') return;
    if (message.type === 'ready') ready.resolve();
    else if (message.type === 'closed') closed.resolve();
    else if (message.type === 'message') handler(message.from, message.data);
  });
  await ready.promise;
  const bus: Bus = {
    self: id,
    send: (to, data) => post({ plane: 'relay', type: 'send', to, data }),
    broadcast: (data) => post({ plane: 'relay', type: 'broadcast', data }),
    onMessage: (receive) => {
      handler = receive;
    },
    close: () => {
      post({ plane: 'relay', type: 'close' });
      return closed.promise;
    },
  };
  return { bus, child, traffic };
}

async function killed(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

busContract('the bus through child processes', async () => {
  const hub = new BusHub();
  const children: ChildProcess[] = [];
  return {
    join: async (id) => {
      const { bus, child } = await remote(hub, id);
      children.push(child);
      return bus;
    },
    close: async () => {
      await Promise.all(children.map(killed));
    },
  };
});

describe('the hub of the bus', () => {
  it('forgets a process that was killed and lets a new one take its name', async () => {
    const hub = new BusHub();
    const parent = hub.local('parent');
    const first = await remote(hub, 'worker');
    await killed(first.child);
    parent.send('worker', Uint8Array.of(1));
    const second = await remote(hub, 'worker');
    const came = new Promise<string>((resolve) => {
      second.bus.onMessage((from, data) => resolve(`${from}: ${[...data]}`));
    });
    parent.send('worker', Uint8Array.of(2));
    assert.equal(await came, 'parent: 2');
    await killed(second.child);
  });

  it('counts payload and all that it costs to carry it, both ways', async () => {
    const hub = new BusHub();
    const parent = hub.local('parent');
    const { bus, child, traffic } = await remote(hub, 'worker');
    const came = new Promise<void>((resolve) => parent.onMessage(() => resolve()));
    const before = structuredClone(traffic);
    bus.send('parent', new Uint8Array(16));
    await came;
    const back = new Promise<void>((resolve) => bus.onMessage(() => resolve()));
    parent.broadcast(new Uint8Array(40));
    await back;
    assert.equal(traffic.received.payload - before.received.payload, 16);
    assert.equal(traffic.received.messages - before.received.messages, 1);
    assert.ok(traffic.received.bytes - before.received.bytes > 16);
    assert.equal(traffic.sent.payload - before.sent.payload, 40);
    assert.ok(traffic.sent.bytes - before.sent.bytes > 40);
    await killed(child);
  });
});
