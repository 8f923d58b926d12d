import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedBus } from '../../worker/bus/simulated.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { CheckpointRecord, JournalRecord } from '../../worker/journal/record.ts';
import { SimulatedLog } from '../../worker/log/simulated.ts';
import { SimulatedNetwork } from '../../worker/log/simulated-network.ts';
import { VirtualTime } from '../../worker/log/virtual-time.ts';
import { checkpointDue, type Start } from '../../worker/round/checkpoint.ts';
import { MemberDriver, type MemberPorts } from '../../worker/round/driver.ts';
import { Follower, type Step } from '../../worker/round/follower.ts';
import { tagOf } from '../../worker/round/messages.ts';
import { DIGEST, genesisOf, jobSpec, joinOf, put, roundOf, started } from '../journal/fixture.ts';
import { Seat } from './seat.ts';
import { clockOf } from './virtual-clock.ts';

const spec = (rounds: number, every: number) => ({
  ...jobSpec({ rounds: [rounds], every: 0 }),
  checkpoint: { everyRounds: every },
});

async function run(time: VirtualTime, ms: number): Promise<void> {
  const settled = () => new Promise<void>((resolve) => process.nextTick(resolve));
  const end = time.now + ms;
  await settled();
  while (time.next !== undefined && time.next <= end) {
    time.step();
    await settled();
  }
  time.runUntil(end);
}

/** Members of one run, some of which keep snapshots or begin from one. */
class Room {
  readonly time = new VirtualTime(3);
  readonly network = new SimulatedNetwork(this.time);
  readonly log = new SimulatedLog(this.network);
  readonly bus = new SimulatedBus(this.network);
  readonly calls: string[][] = [];
  readonly stored: Start[] = [];
  #entered = 0;

  constructor(rounds: number, every: number) {
    this.log.accept(sealRecord(emptyLedger(), genesisOf(spec(rounds, every))), { expectedLast: 0, id: 'g' });
  }

  enter(changes: Partial<MemberPorts> = {}): MemberDriver {
    const n = this.#entered++;
    const calls: string[] = [];
    this.calls[n] = calls;
    const self = joinOf(n);
    const engine: MemberPorts['engine'] = {
      commit: async ({ kind }) => void calls.push(`commit ${kind}`),
      rewind: async (records) => void calls.push(`rewind ${records}`),
      rebuild: async () => void calls.push('rebuild'),
      digest: async () => DIGEST,
      snapshot: async () => {
        calls.push('snapshot');
        return { digest: DIGEST, path: `/s/${n}`, bytes: 1 };
      },
      probe: async ({ round, count }) => {
        calls.push(`probe ${round}`);
        await new Promise<void>((resolve) => this.time.at(10, resolve));
        return { bytes: new Uint8Array(count).fill(3), lossSum: 1, lossCount: 2 };
      },
      evaluate: async () => [],
    };
    const driver = new MemberDriver(self, {
      log: this.log.client(`n${n}`),
      bus: this.bus.join(self.id, `n${n}`),
      engine,
      clock: clockOf(this.time),
      checkpoints: {
        store: async (_, { ledger, seq }) => {
          this.stored.push({ ledger, seq, run: tagOf(this.followed(1).chain) });
          return `kept/${ledger.round}`;
        },
      },
      ...changes,
    });
    driver.done.catch(() => {});
    return driver;
  }

  /** The ledger after the first `count` entries. */
  followed(count: number): Ledger {
    return this.records(count).at(-1)!.ledger;
  }

  records(count = this.log.entries.length): { record: JournalRecord; ledger: Ledger }[] {
    let ledger = emptyLedger();
    return this.log.entries.slice(0, count).map((entry) => {
      const outcome = follow(ledger, entry);
      assert.ok(!('ignored' in outcome));
      ledger = outcome.ledger;
      return outcome;
    });
  }
}

test("it is one member's turn to keep a snapshot, another one each time, and nobody's between", () => {
  const ledger = started(3, spec(100, 10));
  const turns = (round: number, changes: Partial<Ledger> = {}) =>
    [0, 1, 2].filter((n) => checkpointDue({ ...ledger, round, ...changes }, joinOf(n).id));
  assert.deepEqual(turns(0), []);
  assert.deepEqual(turns(7), []);
  assert.deepEqual([turns(10), turns(20), turns(30), turns(40)], [[1], [2], [0], [1]]);
  assert.deepEqual(turns(10, { complete: 'target' }), []);
  assert.deepEqual(turns(10, { members: [] }), []);
  assert.deepEqual(turns(10, { job: spec(100, 0) }), []);
});

test("members keep a snapshot every so many rounds, taken before the round's probes, and the log says where each is", async () => {
  const room = new Room(45, 10);
  for (let n = 0; n < 3; n++) room.enter();
  await run(room.time, 20_000);
  const records = room.records();
  assert.equal(records.at(-1)!.record.kind, 'end');
  const checkpoints = records.map(({ record }) => record).filter(({ kind }) => kind === 'checkpoint');
  assert.deepEqual(
    checkpoints,
    [10, 20, 30, 40].map((round) => ({
      kind: 'checkpoint',
      round,
      digest: DIGEST,
      location: `kept/${round}`,
    })),
  );
  for (const { ledger, seq } of room.stored) assert.deepEqual(room.followed(seq), ledger);
  const taken = room.calls.flatMap((calls) =>
    calls.flatMap((call, i) =>
      call === 'snapshot' ? [calls.slice(i).find((later) => later.startsWith('probe'))] : [],
    ),
  );
  assert.deepEqual(taken.sort(), ['probe 10', 'probe 20', 'probe 30', 'probe 40']);
});

test("a snapshot that could not be kept is nobody's loss", async () => {
  const room = new Room(25, 10);
  room.enter({ checkpoints: { store: async () => null } });
  await run(room.time, 20_000);
  const kinds = room.records().map(({ record }) => record.kind);
  assert.equal(kinds.at(-1), 'end');
  assert.ok(!kinds.includes('checkpoint'));
});

test('a snapshot of a state that the log lost while it was being kept is not told in the log', async () => {
  const room = new Room(4000, 10);
  const kept: PromiseWithResolvers<string>[] = [];
  const store = () => {
    kept.push(Promise.withResolvers());
    return kept.at(-1)!.promise;
  };
  room.enter({ checkpoints: { store } });
  while (kept.length === 0) await run(room.time, 5);
  room.log.loseTail(2);
  await run(room.time, 5);
  kept[0]!.resolve('lost');
  await run(room.time, 200);
  assert.equal(kept.length, 2);
  room.log.loseTail(1);
  kept[1]!.resolve('kept');
  await run(room.time, 100);
  const told = room
    .records()
    .flatMap(({ record }) => (record.kind === 'checkpoint' ? [record.location] : []));
  assert.deepEqual(told, ['kept']);
});

test('a newcomer that begins from a snapshot applies only what follows it, and takes part', async () => {
  const room = new Room(4000, 50);
  room.enter();
  await run(room.time, 2000);
  const start = room.stored.at(-1)!;
  assert.ok(start.ledger.round >= 50);
  const driver = room.enter({ start });
  await run(room.time, 1000);
  assert.deepEqual(
    room.calls[1]!.filter((call) => call.startsWith('commit')).length,
    driver.state.seq - start.seq,
  );
  assert.ok(room.calls[1]!.some((call) => call.startsWith('probe')));
  assert.deepEqual(driver.state.ledger, room.followed(driver.state.seq));
});

test('a newcomer whose snapshot is not of this log begins at its first entry', async () => {
  const room = new Room(4000, 50);
  room.enter();
  await run(room.time, 2000);
  const start = room.stored.at(-1)!;
  const chain = start.ledger.chain.slice().fill(7, 0, 1);
  const driver = room.enter({ start: { ...start, ledger: { ...start.ledger, chain } } });
  await run(room.time, 2000);
  assert.equal(room.calls[1]![0], 'rewind 0');
  assert.ok(room.calls[1]!.some((call) => call.startsWith('probe')));
  assert.deepEqual(driver.state.ledger, room.followed(driver.state.seq));
});

test('a log cut behind the snapshot that a member began from makes it begin anew, cut after it does not', async () => {
  const time = new VirtualTime(1);
  const log = new SimulatedLog(new SimulatedNetwork(time));
  const ledgers = [emptyLedger()];
  const write = (record: JournalRecord) => {
    const { length } = log.entries;
    log.accept(sealRecord(ledgers[length]!, record), { expectedLast: length, id: `${time.now}/${length}` });
    ledgers[length + 1] = put(ledgers[length]!, record);
  };
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++)
      write(roundOf(ledgers[log.entries.length]!, { bytes: [Uint8Array.of(i + 1)], elapsed: time.now }));
  };
  write(genesisOf(spec(5000, 0)));
  write(roundOf(ledgers[1]!, { bytes: [], joins: [joinOf(0)] }));
  rounds(20);
  const start = { ledger: ledgers[12]!, seq: 12 };
  const follower = new Follower(log.client('reader'), clockOf(time), start);
  const seen: Step[] = [];
  void (async () => {
    for await (const step of follower.steps(new AbortController().signal)) seen.push(step);
  })();
  await run(time, 60_000);
  assert.deepEqual(
    seen.map(({ seq }) => seq),
    [13, 14, 15, 16, 17, 18, 19, 20, 21, 22],
  );
  log.loseTail(7);
  await run(time, 60_000);
  rounds(3);
  await run(time, 60_000);
  assert.deepEqual(
    seen.slice(10).map(({ type, seq }) => `${type} ${seq}`),
    ['rewound 15', 'record 16', 'record 17', 'record 18'],
  );
  assert.deepEqual(follower.ledger, ledgers[18]);
  log.loseTail(7);
  await run(time, 60_000);
  assert.equal(seen.at(-1)!.type, 'lost');
});

test("a snapshot's record is appended as soon as nothing else is, again after a lost append, and dropped when it is in", () => {
  const seat = Seat.at(0, started(1, spec(100, 10)));
  const record: CheckpointRecord = { kind: 'checkpoint', round: 0, digest: DIGEST, location: 'kept' };
  seat.feed({ type: 'stored', record });
  assert.deepEqual(seat.appended, record);
  seat.feed({ type: 'conflict', expectedLast: seat.state.seq });
  seat.timer('retry');
  assert.deepEqual(seat.appended, record);
  seat.follow(record, DIGEST);
  assert.equal(seat.appended, undefined);
  assert.equal(seat.state.checkpoint, null);
  assert.deepEqual(seat.state.ledger.checkpoint, record);
});
