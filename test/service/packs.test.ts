import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeBody } from '../../worker/journal/codec.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';
import type { LogEntry } from '../../worker/log/log.ts';
import { Packer, packDue, unpack } from '../../worker/service/packs.ts';
import { decodePack, encodePack } from '../../worker/store/pack.ts';
import type { PackIndex, Store } from '../../worker/store/store.ts';
import { DIGEST, genesisOf, jobSpec, joinOf, put, roundOf } from '../journal/fixture.ts';

type Shelves = Pick<Store, 'putPack' | 'packs' | 'getPack'>;

/** Packs by level. */
class Shelf implements Shelves {
  readonly held = new Map<number, Uint8Array>();
  readonly #indexes = new Map<number, PackIndex>();

  async putPack(index: PackIndex, bytes: Uint8Array): Promise<boolean> {
    this.held.set(index.level, bytes);
    this.#indexes.set(index.level, index);
    return true;
  }

  async packs(levels: number): Promise<PackIndex[]> {
    return [...this.#indexes.values()].filter(({ level }) => level < levels);
  }

  async getPack(level: number): Promise<Uint8Array | null> {
    return this.held.get(level) ?? null;
  }
}

/** A run of which one member packs the log. */
class Run {
  readonly shelf = new Shelf();
  readonly entries: LogEntry[] = [];
  readonly ledgers: Ledger[] = [emptyLedger()];
  readonly self = joinOf(0);
  #packer = this.packer(emptyLedger());

  constructor(every: number) {
    const base = jobSpec({ probes: 3, rounds: [100_000], every: 0 });
    this.add(genesisOf({ ...base, checkpoint: { everyRounds: every } }));
    this.add(roundOf(this.ledger, { joins: [this.self], bytes: [] }));
  }

  get ledger(): Ledger {
    return this.ledgers.at(-1)!;
  }

  packer(start: Ledger): Packer {
    return new Packer(this.shelf as Shelves as Store, start, (error) => {
      throw error;
    });
  }

  add(record: JournalRecord): void {
    const before = this.ledger;
    const ledger = put(before, record);
    const seq = this.entries.length + 1;
    this.entries.push({ seq, data: sealRecord(before, record) });
    this.ledgers.push(ledger);
    this.#packer.step(
      { type: 'entry', seq, record, ledger, own: null },
      { ledger, seq, target: 0, self: this.self },
    );
  }

  rounds(count: number): void {
    for (let i = 0; i < count; i++)
      this.add(roundOf(this.ledger, { loss: 0.25 + (this.ledger.round % 7) / 8 }));
  }

  checkpoint(round: number): void {
    this.add({ kind: 'checkpoint', round, digest: DIGEST, location: 'there' });
  }

  /** The log's tail is lost. */
  back(count: number): void {
    this.entries.length -= count;
    this.ledgers.length -= count;
    const { ledger, self } = this;
    const seq = this.entries.length;
    this.#packer.step({ type: 'truncated', seq, ledger }, { ledger, seq, target: 0, self });
  }

  /** Another life of the member begins at an entry. */
  renew(seq: number): void {
    this.#packer = this.packer(this.ledgers[seq]!);
    for (const [i, entry] of this.entries.slice(seq).entries()) {
      const before = this.ledgers[seq + i]!;
      const ledger = this.ledgers[seq + i + 1]!;
      const record = roundOf(before, { loss: 0.25 + (before.round % 7) / 8 });
      assert.deepEqual(sealRecord(before, record), entry.data);
      const state = { ledger, seq: entry.seq, target: this.entries.length, self: this.self };
      this.#packer.step({ type: 'entry', seq: entry.seq, record, ledger, own: null }, state);
    }
  }

  unpackAt(seq: number): Promise<LogEntry[]> {
    const store = this.shelf as Shelves as Store;
    return unpack(store, { ledger: this.ledgers[seq]!, seq });
  }

  seqOf(round: number): number {
    return this.ledgers.findIndex((ledger) => ledger.round === round);
  }
}

test('packs hold all that was said after the snapshot but for less than a step', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(220), fc.nat(40), async (rounds, delay) => {
      const run = new Run(200);
      run.rounds(200);
      const at = run.seqOf(200);
      run.rounds(delay);
      run.checkpoint(200);
      run.rounds(rounds);
      const unpacked = await run.unpackAt(at);
      assert.deepEqual(unpacked, run.entries.slice(at, at + unpacked.length));
      const missing = run.entries.length - at - unpacked.length;
      // After the next snapshot's round it is that one which the next packs begin at.
      if (run.ledger.round < 400) assert.ok(missing < 16 + 1, `${missing} entries are in no pack`);
    }),
    { numRuns: 20 },
  );
});

test('packs go on after a lost tail, and after the member that makes them began at a snapshot', async () => {
  const run = new Run(1000);
  run.rounds(1400);
  const at = run.seqOf(1000);
  run.back(70);
  run.rounds(200);
  const unpacked = await run.unpackAt(at);
  assert.deepEqual(unpacked, run.entries.slice(at, at + unpacked.length));
  run.renew(at);
  run.rounds(300);
  const again = await run.unpackAt(at);
  assert.deepEqual(again, run.entries.slice(at, at + again.length));
  assert.ok(run.entries.length - at - again.length < 32);
});

test('a pack that does not follow is not used, nor is one behind a gap', async () => {
  const run = new Run(1000);
  run.rounds(1064);
  const at = run.seqOf(1000);
  const level = 2;
  for (const shorter of [0, 1]) run.shelf.held.delete(shorter);
  const pack = decodePack(run.shelf.held.get(level)!)!;
  assert.equal(pack.from, at + 1);
  assert.equal((await run.unpackAt(at)).length, 64);
  const wrong = (bodies: Uint8Array[]) => run.shelf.held.set(level, encodePack({ from: pack.from, bodies }));
  wrong(pack.bodies.map((body, i) => (i === 5 ? body.map((x) => x ^ 0xff) : body)));
  assert.equal((await run.unpackAt(at)).length, 5);
  wrong([encodeBody(genesisOf(), emptyLedger())]);
  assert.equal((await run.unpackAt(at)).length, 0);
  run.shelf.held.delete(level);
  assert.equal((await run.unpackAt(at)).length, 0);
});

test('each record is packed a few times only, and none without snapshots', () => {
  for (const every of [16, 100, 1000, 1024, 100_000]) {
    let written = 0;
    for (let round = 1; round <= every; round++) written += packDue(every, round)?.rounds ?? 0;
    assert.ok(written <= 4 * every, `${written} of ${every}`);
  }
  assert.equal(packDue(0, 16), null);
  assert.equal(packDue(1000, 0), null);
});
