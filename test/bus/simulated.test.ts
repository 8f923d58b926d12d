import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedBus } from '../../worker/bus/simulated.ts';
import { HEALTHY, SimulatedNetwork } from '../../worker/log/simulated-network.ts';
import { VirtualTime } from '../../worker/log/virtual-time.ts';
import { pump } from '../log/pump.ts';
import { busContract } from './contract.ts';

busContract('the simulated bus', async () => {
  const time = new VirtualTime(3);
  const bus = new SimulatedBus(new SimulatedNetwork(time));
  const stop = pump(time);
  return { join: async (id) => bus.join(id), close: async () => stop() };
});

function setUp(faults: Partial<typeof HEALTHY> = {}) {
  const time = new VirtualTime(11);
  const network = new SimulatedNetwork(time, { ...HEALTHY, ...faults });
  const bus = new SimulatedBus(network);
  const [a, b] = [bus.join('a'), bus.join('b')];
  const seen: number[] = [];
  b.onMessage((_, data) => seen.push(data[0]!));
  const send = (count: number) => {
    for (let i = 0; i < count; i++) a.send('b', Uint8Array.of(i));
    time.runUntil(time.now + 10_000);
  };
  return { time, network, bus, seen, send };
}

describe('the simulated bus under faults', () => {
  it('keeps the order of a link that does not reorder, whatever the delays', () => {
    const { seen, send } = setUp({ delay: [1, 500] });
    send(50);
    assert.deepEqual(
      seen,
      Array.from({ length: 50 }, (_, i) => i),
    );
  });

  it('loses, doubles and reorders as often as it is told', () => {
    const { seen, send } = setUp({ drop: 0.3, duplicate: 0.3, reorder: true, delay: [1, 100] });
    send(250);
    const distinct = new Set(seen).size;
    assert.ok(distinct > 120 && distinct < 230, `${distinct} arrived`);
    assert.ok(seen.length > distinct);
    assert.notDeepEqual(
      seen,
      [...seen].sort((x, y) => x - y),
    );
  });

  it('lets nothing through a partition, in either direction, and everything after it', () => {
    const { network, seen, send } = setUp();
    network.partition(['a', 'c'], ['b']);
    assert.ok(network.link('a', 'b').cut && network.link('b', 'a').cut && !network.link('a', 'c').cut);
    send(5);
    assert.deepEqual(seen, []);
    network.heal();
    send(2);
    assert.deepEqual(seen, [0, 1]);
  });

  it('hands a late message to whoever has the name by then, and to nobody who left', () => {
    const { time, bus, seen } = setUp({ delay: [100, 100] });
    const a = bus.join('a');
    a.send('b', Uint8Array.of(9));
    const later: number[] = [];
    bus.join('b').onMessage((_, data) => later.push(data[0]!));
    time.runUntil(1000);
    assert.deepEqual([seen, later], [[], [9]]);
  });
});
