import { after, describe } from 'node:test';
import { NatsBus } from '../../worker/bus/nats.ts';
import { openNats } from '../../worker/nats/connect.ts';
import { jobNames } from '../../worker/nats/names.ts';
import { busContract } from '../bus/contract.ts';
import { missing } from '../tools/tool.ts';
import { freshUid } from './job.ts';
import { NatsSystem } from './server.ts';

const skip = await missing('nats-server');

function contractOn(count: 1 | 3): void {
  let system: NatsSystem | null = null;
  after(() => system?.end());

  busContract(`the bus on ${count === 1 ? 'one server' : 'three servers'}`, async () => {
    const servers = (system ??= await NatsSystem.start({ count }));
    const names = jobNames(freshUid());
    const connections = await Promise.all(servers.urls.map((url) => openNats({ servers: [url] })));
    const buses: NatsBus[] = [];
    return {
      join: async (id) => {
        const bus = new NatsBus(connections[buses.length % count]!, names, id);
        buses.push(bus);
        await bus.ready();
        // Other servers of the cluster hear of a subscription a moment later.
        for (const from of connections) await reaches(from, bus);
        return bus;
      },
      close: async () => {
        await Promise.all(connections.map((connection) => connection.close()));
      },
    };
  });

  /** Sends to the bus over a connection until something comes. */
  async function reaches(from: Awaited<ReturnType<typeof openNats>>, bus: NatsBus): Promise<void> {
    const came = Promise.withResolvers<void>();
    bus.onMessage(() => came.resolve());
    const helper = new NatsBus(from, bus.names, 'helper');
    const timer = setInterval(() => helper.send(bus.self, new Uint8Array(1)), 5);
    await came.promise;
    clearInterval(timer);
    await helper.close();
    bus.onMessage(() => {});
  }
}

describe('the bus on real servers', { skip }, () => {
  contractOn(1);
  contractOn(3);
});
