/**
 * A run of very many members on one log: drivers as workers run them, a virtual engine, and log and bus in virtual time,
 * all in this process. Prints what a worker sends and receives in a round, and the processor time of a round for all
 * of them; both should grow as the number of members, so the cost divided by its square should not grow.
 *
 *     node bench/members.ts [--members 125,250,500,1000] [--rounds 20] [--warm 5]
 */
import { parseArgs } from 'node:util';
import { StatelessEngine } from '../test/nats/null-engine.ts';
import { clockOf } from '../test/round/virtual-clock.ts';
import { genesisFor, jobOf, PLAIN_CHOICES } from '../test/simulation/job.ts';
import type { Bus } from '../worker/bus/bus.ts';
import { SimulatedBus } from '../worker/bus/simulated.ts';
import { emptyLedger, sealRecord } from '../worker/journal/index.ts';
import type { Log } from '../worker/log/log.ts';
import { SimulatedLog } from '../worker/log/simulated.ts';
import { SimulatedNetwork } from '../worker/log/simulated-network.ts';
import { VirtualTime } from '../worker/log/virtual-time.ts';
import { MemberDriver } from '../worker/round/driver.ts';
import type { EnginePort } from '../worker/round/engine-port.ts';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '125,250,500,1000' },
    rounds: { type: 'string', default: '20' },
    /** Rounds at the start that do not count: programs are compiled while they run. */
    warm: { type: 'string', default: '5' },
  },
});
const [rounds, warm] = [values.rounds, values.warm].map(Number) as [number, number];
/** Virtual milliseconds of a probe. */
const PROBE = 20;
const choices = { ...PLAIN_CHOICES, probes: 1 };

interface Traffic {
  sent: number;
  received: number;
}

interface Row {
  readonly members: number;
  /** Processor seconds until all were in. */
  readonly joining: number;
  /** Processor milliseconds of a round of all members. */
  readonly round: number;
  /** Virtual milliseconds of a round. */
  readonly virtual: number;
  /** Bytes of messages and records per worker and round. */
  readonly sent: number;
  readonly received: number;
  /** Share of the probes that are in the records. */
  readonly made: number;
}

console.log(
  'members  joining s  ms a round  (µs per member^2)  rounds/s  bytes out, in a worker and round  (in per member)  virtual ms  probes',
);
for (const members of values.members.split(',').map(Number)) {
  const row = await measure(members);
  console.log(
    `${String(row.members).padStart(7)}${row.joining.toFixed(1).padStart(11)}${row.round.toFixed(0).padStart(12)}` +
      `${((1000 * row.round) / members ** 2).toFixed(2).padStart(20)}${(1000 / row.round).toFixed(2).padStart(10)}` +
      `${row.sent.toFixed(0).padStart(14)}${row.received.toFixed(0).padStart(9)}${(row.received / members).toFixed(2).padStart(29)}` +
      `${row.virtual.toFixed(0).padStart(12)}${(100 * row.made).toFixed(1).padStart(7)} %`,
  );
}

async function measure(members: number): Promise<Row> {
  const time = new VirtualTime(1);
  const network = new SimulatedNetwork(time);
  const log = new SimulatedLog(network);
  const bus = new SimulatedBus(network);
  const genesis = genesisFor(jobOf({ ...choices, rounds: [1_000_000] }));
  log.accept(sealRecord(emptyLedger(), genesis), { expectedLast: 0, id: 'genesis' });
  const traffic: Traffic = { sent: 0, received: 0 };
  const drivers = Array.from({ length: members }, (_, i) => {
    const id = (i + 1).toString(16).padStart(16, '0');
    const ports = {
      log: countedLog(log.client(id), traffic),
      bus: countedBus(bus.join(id), traffic),
      engine: engineOf(time),
      clock: clockOf(time),
    };
    const self = { id, name: `worker-${i}`, group: '', examples: 100 };
    return new MemberDriver(self, ports, { expected: members, grace: 60_000 });
  });
  const first = drivers[0]!;
  const until = async (there: () => boolean) => {
    // Processor time: what else the machine does is not counted.
    const began = process.cpuUsage();
    while (!there()) {
      if (!time.step()) throw new Error('nothing is left to happen');
      await new Promise<void>((resolve) => process.nextTick(resolve));
    }
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1000;
  };
  const at = () => first.state.ledger.round;
  const joining = await until(() => first.state.ledger.members.length === members);
  const start = at() + warm;
  await until(() => at() >= start);
  const before = { ...traffic, now: time.now, probes: first.state.ledger.totals.probes };
  const took = await until(() => at() >= start + rounds);
  const { probes } = first.state.ledger.totals;
  const each = rounds * members;
  for (const driver of drivers) {
    driver.done.catch(() => {});
    driver.abort(new Error('over'));
  }
  return {
    members,
    joining: joining / 1000,
    round: took / rounds,
    virtual: (time.now - before.now) / rounds,
    sent: (traffic.sent - before.sent) / each,
    received: (traffic.received - before.received) / each,
    made: (probes - before.probes) / each,
  };
}

function engineOf(time: VirtualTime): EnginePort {
  const engine = new StatelessEngine();
  return Object.assign(engine, {
    probe: async ({ count }: { count: number }, signal: AbortSignal) => {
      await new Promise<void>((resolve) => time.at(PROBE, resolve));
      return signal.aborted ? null : { bytes: new Uint8Array(count).fill(65), lossSum: 2, lossCount: 4 };
    },
  });
}

function countedBus(bus: Bus, traffic: Traffic): Bus {
  return {
    self: bus.self,
    send: (to, data) => {
      traffic.sent += data.length;
      bus.send(to, data);
    },
    // Over NATS a broadcast is sent once, and received by all.
    broadcast: (data) => {
      traffic.sent += data.length;
      bus.broadcast(data);
    },
    onMessage: (handler) =>
      bus.onMessage((from, data) => {
        traffic.received += data.length;
        handler(from, data);
      }),
    close: () => bus.close(),
  };
}

function countedLog(log: Log, traffic: Traffic): Log {
  return {
    append: (data, options) => {
      traffic.sent += data.length;
      return log.append(data, options);
    },
    last: () => log.last(),
    read: (from, to) => log.read(from, to),
    tail: async function* (from, signal) {
      for await (const event of log.tail(from, signal)) {
        if (event.type === 'entry') traffic.received += event.entry.data.length;
        yield event;
      }
    },
    close: () => log.close(),
  };
}
