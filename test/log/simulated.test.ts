import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LogConflict, type LogEvent, LogUnavailable } from '../../worker/log/log.ts';
import { SimulatedLog } from '../../worker/log/simulated.ts';
import { HEALTHY, SimulatedNetwork } from '../../worker/log/simulated-network.ts';
import { VirtualTime } from '../../worker/log/virtual-time.ts';
import { logContract, text } from './contract.ts';
import { pump } from './pump.ts';

logContract(
  'the simulated log',
  async () => {
    const time = new VirtualTime(7);
    const log = new SimulatedLog(new SimulatedNetwork(time), { limit: 64 });
    const stop = pump(time);
    const clients: ReturnType<SimulatedLog['client']>[] = [];
    return {
      limit: 64,
      connect: async (node) => {
        const client = log.client(node);
        clients.push(client);
        return client;
      },
      // Its storage outlives its clients; there is nothing else to open again.
      reopen: async () => {
        for (const client of clients) await client.close();
      },
      loseTail: async (count) => log.loseTail(count),
      close: async () => {
        for (const client of clients) await client.close();
        stop();
      },
    };
  },
  true,
);

function setUp(seed = 1) {
  const time = new VirtualTime(seed);
  const network = new SimulatedNetwork(time);
  return { time, network, log: new SimulatedLog(network) };
}

/** A log's answer to an append, or undefined while there is none. */
function append(log: ReturnType<SimulatedLog['client']>, expectedLast: number, id: string) {
  const result: { value: number | Error | undefined } = { value: undefined };
  log.appendThen(text(id), { expectedLast, id }, (value) => {
    result.value = value;
  });
  return result;
}

describe('the simulated log under faults', () => {
  it('leaves the writer in doubt when only the acknowledgement is lost, and a repeat resolves it', () => {
    const { time, network, log } = setUp();
    const client = log.client('a');
    network.set('log', 'a', { drop: 1 });
    const first = append(client, 0, 'x');
    time.runUntil(5000);
    assert.ok(first.value instanceof LogUnavailable);
    assert.equal(log.entries.length, 1);
    network.heal();
    const second = append(client, 0, 'x');
    time.runUntil(10_000);
    assert.equal(second.value, 1);
    assert.equal(log.entries.length, 1);
  });

  it('without its duplicate check turns a repeat into a conflict, never into a second entry', () => {
    const time = new VirtualTime(3);
    const network = new SimulatedNetwork(time);
    const log = new SimulatedLog(network, { deduplicate: false });
    network.set('a', 'log', { duplicate: 1 });
    const result = append(log.client('a'), 0, 'x');
    time.runUntil(5000);
    assert.equal(log.entries.length, 1);
    assert.ok(result.value === 1 || result.value instanceof LogConflict);
  });

  it('delivers to a tail behind a cut once the cut is over, in order and once', () => {
    const { time, network, log } = setUp();
    const seen: number[] = [];
    network.partition(['b'], ['log']);
    log.client('b').tailEach(1, (event) => {
      if (event.type === 'entry') seen.push(event.entry.seq);
    });
    const writer = log.client('a');
    for (let i = 0; i < 5; i++) {
      append(writer, i, `${i}`);
      time.runUntil(time.now + 100);
    }
    assert.deepEqual(seen, []);
    network.heal();
    time.runUntil(time.now + 1000);
    assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  });

  it('tells a tail that had not got so far nothing of a lost end', () => {
    const { time, network, log } = setUp();
    const seen: LogEvent[] = [];
    network.partition(['b'], ['log']);
    log.client('b').tailEach(1, (event) => seen.push(event));
    append(log.client('a'), 0, 'x');
    time.runUntil(100);
    log.loseTail(1);
    network.heal();
    time.runUntil(1000);
    assert.deepEqual(seen, []);
  });

  it('calls nothing back on a node that is gone', () => {
    const { time, log } = setUp();
    const client = log.client('a');
    const result = append(client, 0, 'x');
    client.tailEach(1, () => assert.fail('an event on a closed client'));
    void client.close();
    time.runUntil(5000);
    assert.equal(result.value, undefined);
    assert.equal(log.entries.length, 1);
  });

  it('does the same again for the same seed', () => {
    const trace = (seed: number) => {
      const { time, network, log } = setUp(seed);
      network.faults = { ...HEALTHY, drop: 0.2, duplicate: 0.2, reorder: true, delay: [1, 300] };
      const events: unknown[] = [];
      for (const node of ['a', 'b', 'c']) {
        log.client(node).tailEach(1, (event) => events.push([time.now, node, event]));
        time.at(node.charCodeAt(0), () => append(log.client(node), 0, node));
        time.at(1000, () => append(log.client(node), 1, `${node}2`));
      }
      time.at(2000, () => log.loseTail(1));
      time.runUntil(20_000);
      return events;
    };
    assert.deepEqual(trace(5), trace(5));
    assert.notDeepEqual(trace(5), trace(6));
  });
});

describe('virtual time', () => {
  it('runs what is due in order of time, then of scheduling, like a sorted list', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 60 }), (delays) => {
        const time = new VirtualTime(1);
        const ran: number[] = [];
        for (const [i, delay] of delays.entries()) time.at(delay, () => ran.push(i));
        while (time.step());
        const sorted = delays
          .map((delay, i) => [delay, i] as const)
          .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
        assert.deepEqual(
          ran,
          sorted.map(([, i]) => i),
        );
      }),
    );
  });

  it('draws uniform numbers that only the seed decides', () => {
    const draw = (seed: number) => {
      const time = new VirtualTime(seed);
      return Array.from({ length: 2000 }, () => time.random());
    };
    assert.deepEqual(draw(1), draw(1));
    assert.notDeepEqual(draw(1), draw(2));
    const mean = draw(3).reduce((a, b) => a + b) / 2000;
    assert.ok(Math.abs(mean - 0.5) < 0.03);
  });
});
