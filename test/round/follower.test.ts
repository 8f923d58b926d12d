import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';
import { SimulatedLog } from '../../worker/log/simulated.ts';
import { SimulatedNetwork } from '../../worker/log/simulated-network.ts';
import { VirtualTime } from '../../worker/log/virtual-time.ts';
import { Follower, type Step } from '../../worker/round/follower.ts';
import { observe } from '../../worker/round/observer.ts';
import { genesisOf, jobSpec, joinOf, put, roundOf, wholeRun } from '../journal/fixture.ts';
import { clockOf } from './virtual-clock.ts';

/** A log that is written to at will, and somebody who follows it. */
class Desk {
  readonly time = new VirtualTime(1);
  readonly network = new SimulatedNetwork(this.time);
  readonly log = new SimulatedLog(this.network);
  readonly clock = clockOf(this.time);
  readonly follower = new Follower(this.log.client('reader'), this.clock);
  readonly seen: Step[] = [];
  readonly #stop = new AbortController();
  /** After each entry. */
  readonly ledgers: Ledger[] = [emptyLedger()];

  constructor() {
    void (async () => {
      for await (const step of this.follower.steps(this.#stop.signal)) this.seen.push(step);
    })();
  }

  get ledger(): Ledger {
    return this.ledgers[this.log.entries.length]!;
  }

  write(record: JournalRecord): void {
    const { length } = this.log.entries;
    this.log.accept(sealRecord(this.ledger, record), {
      expectedLast: length,
      id: `${this.time.now}/${length}`,
    });
    this.ledgers[length + 1] = put(this.ledgers[length]!, record);
  }

  rounds(count: number, first: number): void {
    for (let i = 0; i < count; i++)
      this.write(roundOf(this.ledger, { bytes: [Uint8Array.of(first, (i % 200) + 1)], elapsed: i }));
  }

  start(): void {
    this.write(genesisOf(jobSpec({ rounds: [5000], every: 0 })));
    this.write(roundOf(this.ledger, { bytes: [], joins: [joinOf(0)] }));
  }

  async run(ms: number): Promise<void> {
    const end = this.time.now + ms;
    await settled();
    while (this.time.next !== undefined && this.time.next <= end) {
      this.time.step();
      await settled();
    }
    this.time.runUntil(end);
  }

  async caughtUp(): Promise<void> {
    await this.run(60_000);
    assert.deepEqual(this.follower.ledger, this.ledger);
    assert.equal(this.follower.seq, this.log.entries.length);
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

test('a follower sees every record once, with the ledgers around it', async () => {
  const desk = new Desk();
  desk.start();
  desk.rounds(20, 1);
  await desk.caughtUp();
  assert.deepEqual(
    desk.seen.map((step) => [step.type, step.seq]),
    Array.from({ length: 22 }, (_, i) => ['record', i + 1]),
  );
});

test('a lost tail takes a follower back to the last entry that is left, and on from there', async () => {
  const desk = new Desk();
  desk.start();
  desk.rounds(20, 1);
  await desk.caughtUp();
  desk.log.loseTail(5);
  desk.rounds(2, 9);
  await desk.caughtUp();
  assert.deepEqual(
    desk.seen.slice(22).map((step) => [step.type, step.seq]),
    [
      ['rewound', 17],
      ['record', 18],
      ['record', 19],
    ],
  );
});

test('a tail that was lost and regrown while nobody listened is found out by the chain', async () => {
  for (const regrown of [0, 6, 7, 40]) {
    const desk = new Desk();
    desk.start();
    desk.rounds(20, 1);
    await desk.caughtUp();
    // As a server that comes back from an older copy.
    desk.network.set('log', 'reader', { cut: true });
    desk.follower.resync();
    await desk.run(10);
    desk.log.loseTail(7);
    desk.rounds(regrown, 9);
    desk.network.set('log', 'reader', null);
    await desk.run(60_000);
    await desk.caughtUp();
    assert.ok(desk.seen.some((step) => step.type === 'rewound' && step.seq === 15));
  }
});

test('a follower goes back further than it remembers by reading the log again', async () => {
  const desk = new Desk();
  desk.start();
  desk.rounds(700, 1);
  await desk.caughtUp();
  desk.log.loseTail(650);
  desk.rounds(3, 9);
  await desk.caughtUp();
  desk.log.loseTail(1000);
  desk.start();
  await desk.caughtUp();
});

test('noise, and entries of late writers, are passed over', async () => {
  const desk = new Desk();
  desk.start();
  desk.rounds(3, 1);
  const late = sealRecord(desk.ledger, roundOf(desk.ledger));
  const append = (data: Uint8Array) => {
    const { length } = desk.log.entries;
    desk.log.accept(data, { expectedLast: length, id: `noise ${length}` });
    desk.ledgers[length + 1] = desk.ledgers[length]!;
  };
  append(Uint8Array.of(1, 2, 3));
  desk.rounds(1, 1);
  append(late);
  append(new Uint8Array(0));
  desk.rounds(2, 1);
  await desk.caughtUp();
  assert.deepEqual(
    desk.seen.map(({ type }) => type),
    [...new Array(5).fill('record'), 'ignored', 'record', 'ignored', 'ignored', 'record', 'record'],
  );
  desk.log.loseTail(3);
  desk.rounds(2, 9);
  await desk.caughtUp();
});

test('an observer yields every record with its ledger and ends after the end', async () => {
  const desk = new Desk();
  const records = wholeRun();
  for (const record of records) desk.write(record);
  const kinds: string[] = [];
  const watching = (async () => {
    for await (const { record, ledger } of observe(
      desk.log.client('view'),
      new AbortController().signal,
      desk.clock,
    )) {
      kinds.push(record!.kind);
      assert.equal(ledger.records, kinds.length);
    }
  })();
  await desk.run(10_000);
  await watching;
  assert.deepEqual(
    kinds,
    records.map(({ kind }) => kind),
  );
});
