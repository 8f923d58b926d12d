import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedBus } from '../../worker/bus/simulated.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';
import { LogFull } from '../../worker/log/log.ts';
import { SimulatedLog } from '../../worker/log/simulated.ts';
import { SimulatedNetwork } from '../../worker/log/simulated-network.ts';
import { VirtualTime } from '../../worker/log/virtual-time.ts';
import { MemberDriver, type Outcome } from '../../worker/round/driver.ts';
import type { EnginePort } from '../../worker/round/engine-port.ts';
import { DIGEST, genesisOf, jobSpec, joinOf } from '../journal/fixture.ts';
import { clockOf } from './virtual-clock.ts';

/** Measures nothing, in as many virtual milliseconds a round as it is told, and notes what it was asked. */
class Engine implements EnginePort {
  readonly calls: string[] = [];
  readonly #time: VirtualTime;
  readonly #pace: number;

  constructor(time: VirtualTime, pace: number) {
    this.#time = time;
    this.#pace = pace;
  }

  async commit(record: JournalRecord): Promise<void> {
    this.calls.push(`commit ${record.kind}`);
  }

  async rewind(records: number): Promise<void> {
    this.calls.push(`rewind ${records}`);
  }

  async rebuild(): Promise<void> {}

  async digest(): Promise<string> {
    return DIGEST;
  }

  async probe({ round, count }: { round: number; count: number }, signal: AbortSignal) {
    this.calls.push(`probe ${round}`);
    await new Promise<void>((resolve) => this.#time.at(this.#pace, resolve));
    return signal.aborted ? null : { bytes: new Uint8Array(count).fill(3), lossSum: 1, lossCount: 2 };
  }

  async evaluate() {
    return [];
  }
}

class Room {
  readonly time = new VirtualTime(3);
  readonly network = new SimulatedNetwork(this.time);
  readonly log: SimulatedLog;
  readonly bus = new SimulatedBus(this.network);
  readonly engines: Engine[] = [];
  readonly outcomes: (Outcome | Error | undefined)[] = [];
  readonly drivers: MemberDriver[] = [];

  constructor(limit = Number.POSITIVE_INFINITY, rounds = 6) {
    this.log = new SimulatedLog(this.network, { limit });
    const genesis = genesisOf(jobSpec({ rounds: [rounds], every: 0 }));
    this.log.accept(sealRecord(emptyLedger(), genesis), { expectedLast: 0, id: 'genesis' });
  }

  enter(expected: number, changes: Partial<EnginePort> = {}, pace = 10): MemberDriver {
    const n = this.drivers.length;
    const self = joinOf(n);
    const engine = Object.assign(new Engine(this.time, pace), changes);
    const clock = clockOf(this.time);
    const ports = { log: this.log.client(`n${n}`), bus: this.bus.join(self.id, `n${n}`), engine, clock };
    const driver = new MemberDriver(self, ports, { expected });
    this.outcomes.push(undefined);
    driver.done.then(
      (outcome) => {
        this.outcomes[n] = outcome;
      },
      (error: Error) => {
        this.outcomes[n] = error;
      },
    );
    this.engines.push(engine);
    this.drivers.push(driver);
    return driver;
  }

  async run(ms: number): Promise<void> {
    const end = this.time.now + ms;
    const settled = () => new Promise<void>((resolve) => process.nextTick(resolve));
    await settled();
    while (this.time.next !== undefined && this.time.next <= end) {
      this.time.step();
      await settled();
    }
    this.time.runUntil(end);
  }

  get records(): JournalRecord[] {
    let ledger = emptyLedger();
    return this.log.entries.map((entry) => {
      const outcome = follow(ledger, entry);
      assert.ok(!('ignored' in outcome));
      ledger = outcome.ledger;
      return outcome.record;
    });
  }
}

test('members run a job to its end, each applying every record once and in order', async () => {
  const room = new Room();
  for (let n = 0; n < 3; n++) room.enter(3);
  await room.run(5000);
  for (const outcome of room.outcomes)
    assert.ok(outcome !== undefined && 'type' in outcome && outcome.type === 'finished');
  const commits = room.records.map(({ kind }) => `commit ${kind}`);
  for (const { calls } of room.engines)
    assert.deepEqual(
      calls.filter((call) => call.startsWith('commit')),
      commits,
    );
});

test('whoever comes to a run that goes on is let in once its engine is ready, and misses no round', async () => {
  const room = new Room(Number.POSITIVE_INFINITY, 300);
  room.enter(1);
  await room.run(400);
  const comes = room.records.length;
  let isReady = false;
  const late = room.enter(1, {
    prepare: () =>
      new Promise((resolve) => {
        room.time.at(1500, () => {
          isReady = true;
          resolve();
        });
      }),
  });
  await room.run(1000);
  assert.ok(!isReady && room.records.length > comes + 20, 'the other did not wait for it');
  assert.equal(late.state.ballot!.index, -1);
  assert.ok(room.records.every((record) => record.kind !== 'round' || record.bytes.length < 2));
  await room.run(20_000);
  const joined = room.records.findLastIndex(
    (record) => record.kind === 'round' && record.joins.some(({ id }) => id === late.state.self.id),
  );
  assert.ok(joined > comes);
  // Its first contribution is to the first round that it was a member in.
  const both = room.records.slice(joined + 1).find((record) => record.kind === 'round');
  assert.deepEqual(
    both?.bytes.map(({ length }) => length > 0),
    [true, true],
  );
  for (const outcome of room.outcomes)
    assert.ok(outcome !== undefined && 'type' in outcome && outcome.type === 'finished');
});

test('a member whose engine fails ends with that error, and the others go on', async () => {
  const room = new Room();
  const failure = new OnebyteError('INTERNAL', 'out of memory');
  room.enter(2);
  room.enter(2, { probe: async () => Promise.reject(failure) });
  await room.run(60_000);
  assert.equal(room.outcomes[1], failure);
  assert.ok(
    room.outcomes[0] !== undefined && 'type' in room.outcomes[0] && room.outcomes[0].type === 'finished',
  );
});

test('a full log ends a member with an error that says so', async () => {
  const room = new Room(4);
  room.enter(1);
  await room.run(5000);
  assert.ok(room.outcomes[0] instanceof LogFull);
});

test('a member asked to leave is out within a round, and the others do not wait for it', async () => {
  const room = new Room(undefined, 40);
  for (let n = 0; n < 3; n++) room.enter(3);
  await room.run(100);
  room.drivers[1]!.leave();
  await room.run(100);
  assert.deepEqual(room.outcomes[1], { type: 'left', released: true });
  await room.run(5000);
  assert.ok(room.records.every((record) => record.kind !== 'round' || record.attempt === 0));
});

test('a run that is cancelled ends for everybody', async () => {
  const room = new Room(undefined, 4000);
  for (let n = 0; n < 3; n++) room.enter(3);
  await room.run(300);
  room.drivers[2]!.cancel();
  await room.run(1000);
  const end = room.records.at(-1);
  assert.ok(end?.kind === 'end' && end.reason === 'cancelled');
  for (const outcome of room.outcomes)
    assert.ok(outcome !== undefined && 'type' in outcome && outcome.type === 'finished');
});

test('a member that was stopped says nothing more', async () => {
  const room = new Room(undefined, 4000);
  const driver = room.enter(1);
  await room.run(200);
  driver.abort(new Error('stopped'));
  // What it had sent before may arrive still.
  await room.run(10);
  const { length } = room.log.entries;
  await room.run(5000);
  assert.equal(room.log.entries.length, length);
  assert.match(String(room.outcomes[0]), /stopped/);
});

test('a newcomer has its engine apply the past in one go where it can', async () => {
  const room = new Room(undefined, 400);
  room.enter(1);
  await room.run(2000);
  const batches: number[] = [];
  room.enter(1, {
    commitAll: async (entries) => {
      batches.push(entries.length);
    },
  });
  await room.run(2000);
  assert.ok(batches.length === 1 && batches[0]! > 50, String(batches));
  assert.ok(room.engines[1]!.calls.some((call) => call.startsWith('probe')));
});

test('a lost tail that was of the open round, as a checkpoint is, makes its members measure it again', async () => {
  const room = new Room(undefined, 20);
  for (let n = 0; n < 3; n++) room.enter(3, {}, 500);
  while (room.drivers.some(({ state }) => state.ledger.round < 10)) await room.run(1);
  const { length } = room.log.entries;
  const { ledger } = room.drivers[0]!.state;
  const record = { kind: 'checkpoint', round: 5, digest: DIGEST, location: 'kept' } as const;
  room.log.accept(sealRecord(ledger, record), { expectedLast: length, id: 'checkpoint' });
  while (room.drivers.some(({ state }) => state.seq <= length)) await room.run(1);
  for (const { state } of room.drivers) assert.ok(state.ballot!.working && state.ballot!.own === null);
  room.log.loseTail(1);
  await room.run(60_000);
  for (const outcome of room.outcomes)
    assert.ok(outcome !== undefined && 'type' in outcome && outcome.type === 'finished');
});
