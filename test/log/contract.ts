import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type Log, LogConflict, type LogEntry, type LogEvent, LogFull } from '../../worker/log/log.ts';

/** One log under test, as its implementation's own test file sets it up. */
export interface LogHarness {
  /** A client of its own (connection, process, node). */
  connect(node: string): Promise<Log>;
  /** Stops what holds the log and starts it again over the same storage; clients connect anew. */
  reopen(): Promise<void>;
  /** Makes the log lose its last entries. */
  readonly loseTail?: (count: number) => Promise<void>;
  /** How many small entries fit, where the harness set a limit. */
  readonly limit: number;
  close(): Promise<void>;
}

export const text = (value: string) => new TextEncoder().encode(value);
const string = (data: Uint8Array) => new TextDecoder().decode(data);

export async function collect(entries: AsyncIterable<LogEntry>): Promise<string[]> {
  const all: string[] = [];
  for await (const { seq, data } of entries) all.push(`${seq}:${string(data)}`);
  return all;
}

/** Appends `count` entries named after their sequence. */
export async function fill(log: Log, count: number, from = 0): Promise<void> {
  for (let last = from; last < from + count; last++)
    await log.append(text(`e${last + 1}`), { expectedLast: last, id: `fill-${last + 1}` });
}

/** Takes events of a tail until `count` of them came. */
async function take(events: AsyncIterable<LogEvent>, count: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const event of events) {
    if (event.type === 'entry') seen.push(`${event.entry.seq}:${string(event.entry.data)}`);
    else seen.push(`truncated to ${event.last}`);
    if (seen.length === count) break;
  }
  return seen;
}

/**
 * Registers what every implementation of `Log` must do.
 * @param losesTail whether it can lose its end while clients are there; then `loseTail` of the harness does it
 */
export function logContract(name: string, open: () => Promise<LogHarness>, losesTail = false): void {
  describe(`${name}: the contract of a log`, () => {
    let harness: LogHarness;
    let log: Log;
    beforeEach(async () => {
      harness = await open();
      log = await harness.connect('first');
    });
    afterEach(() => harness.close());

    it('is empty at first', async () => {
      assert.equal(await log.last(), null);
      assert.deepEqual(await collect(log.read(1)), []);
    });

    it('numbers entries from 1 on and gives them back in order, byte for byte', async () => {
      const all = Uint8Array.from({ length: 256 }, (_, i) => i);
      assert.equal(await log.append(all, { expectedLast: 0, id: 'a' }), 1);
      assert.equal(await log.append(new Uint8Array(0), { expectedLast: 1, id: 'b' }), 2);
      const entries: LogEntry[] = [];
      for await (const entry of log.read(1)) entries.push(entry);
      assert.deepEqual(
        entries.map(({ seq, data }) => [seq, [...data]]),
        [
          [1, [...all]],
          [2, []],
        ],
      );
      assert.equal((await log.last())?.seq, 2);
    });

    it('keeps the bytes as they were at the append, whatever becomes of the buffer', async () => {
      const data = text('before');
      const appended = log.append(data, { expectedLast: 0, id: 'a' });
      data.fill(0);
      await appended;
      assert.deepEqual(await collect(log.read(1)), ['1:before']);
    });

    it('refuses an append after another entry than the last, and says what the last one is', async () => {
      await fill(log, 2);
      for (const expectedLast of [0, 1, 3]) {
        const refused = log.append(text('x'), { expectedLast, id: `x${expectedLast}` });
        await assert.rejects(refused, (error) => {
          assert.ok(error instanceof LogConflict);
          assert.ok(error.last === 2 || error.last === undefined);
          return true;
        });
      }
      assert.deepEqual(await collect(log.read(1)), ['1:e1', '2:e2']);
    });

    it('answers a repeated append with the sequence of the first', async () => {
      await fill(log, 3);
      assert.equal(await log.append(text('e2'), { expectedLast: 1, id: 'fill-2' }), 2);
      assert.equal((await log.last())?.seq, 3);
    });

    it('lets exactly one of several writers have each sequence', async () => {
      const writers = await Promise.all(['a', 'b', 'c'].map((node) => harness.connect(node)));
      for (let last = 0; last < 12; last++) {
        const results = await Promise.allSettled(
          writers.map((writer, i) => writer.append(text(`${i}`), { expectedLast: last, id: `${i}-${last}` })),
        );
        const won = results.filter((result) => result.status === 'fulfilled');
        assert.deepEqual(
          won.map(({ value }) => value),
          [last + 1],
        );
        for (const result of results)
          if (result.status === 'rejected') assert.ok(result.reason instanceof LogConflict);
      }
      assert.equal((await collect(log.read(1))).length, 12);
    });

    it('reads ranges, cut to what there is', async () => {
      await fill(log, 5);
      assert.deepEqual(await collect(log.read(2, 4)), ['2:e2', '3:e3', '4:e4']);
      assert.deepEqual(await collect(log.read(4)), ['4:e4', '5:e5']);
      assert.deepEqual(await collect(log.read(4, 99)), ['4:e4', '5:e5']);
      assert.deepEqual(await collect(log.read(6)), []);
      assert.deepEqual(await collect(log.read(3, 2)), []);
    });

    it('stops reading when the reader stops', async () => {
      await fill(log, 5);
      for await (const entry of log.read(1)) if (entry.seq === 2) break;
      assert.equal((await log.last())?.seq, 5);
    });

    it('tails from the past into the present', async () => {
      await fill(log, 3);
      const stop = new AbortController();
      const other = await harness.connect('other');
      const seen = take(log.tail(2, stop.signal), 4);
      await fill(other, 2, 3);
      assert.deepEqual(await seen, ['2:e2', '3:e3', '4:e4', '5:e5']);
    });

    it('tails an empty log, and from beyond its end', async () => {
      const stop = new AbortController();
      const all = take(log.tail(1, stop.signal), 3);
      const late = take(log.tail(3, stop.signal), 1);
      await fill(await harness.connect('other'), 3);
      assert.deepEqual(await all, ['1:e1', '2:e2', '3:e3']);
      assert.deepEqual(await late, ['3:e3']);
    });

    it('ends a tail without an error when it is aborted, before, while it waits and while it reads', async () => {
      await fill(log, 2);
      assert.deepEqual(await take(log.tail(1, AbortSignal.abort()), 1), []);
      const waiting = new AbortController();
      const idle = take(log.tail(3, waiting.signal), 1);
      await log.last();
      waiting.abort();
      assert.deepEqual(await idle, []);
      const reading = new AbortController();
      const seen: number[] = [];
      for await (const event of log.tail(1, reading.signal)) {
        if (event.type === 'entry') seen.push(event.entry.seq);
        reading.abort();
      }
      assert.deepEqual(seen, [1]);
    });

    it('gives every tail every entry', async () => {
      const stop = new AbortController();
      const logs = await Promise.all(['a', 'b', 'c'].map((node) => harness.connect(node)));
      const tails = logs.map((each) => take(each.tail(1, stop.signal), 20));
      await fill(log, 20);
      const expected = Array.from({ length: 20 }, (_, i) => `${i + 1}:e${i + 1}`);
      for (const tail of tails) assert.deepEqual(await tail, expected);
    });

    it('ends the tails of a client that closes', async () => {
      await fill(log, 1);
      const client = await harness.connect('other');
      const seen: number[] = [];
      for await (const event of client.tail(1, new AbortController().signal)) {
        if (event.type === 'entry') seen.push(event.entry.seq);
        setImmediate(() => void client.close());
      }
      assert.deepEqual(seen, [1]);
      assert.equal((await log.last())?.seq, 1);
    });

    it('keeps its entries when it is closed and opened again', async () => {
      await fill(log, 4);
      await harness.reopen();
      const again = await harness.connect('again');
      assert.deepEqual(await collect(again.read(1)), ['1:e1', '2:e2', '3:e3', '4:e4']);
      await fill(again, 1, 4);
      assert.equal((await again.last())?.seq, 5);
    });

    it('refuses an append that does not fit, and keeps what it has', async () => {
      await fill(log, harness.limit);
      const more = log.append(text('more'), { expectedLast: harness.limit, id: 'more' });
      await assert.rejects(more, LogFull);
      assert.equal((await log.last())?.seq, harness.limit);
      assert.equal((await collect(log.read(1))).length, harness.limit);
    });

    if (!losesTail) return;
    it('tells its tails when it lost its end, and goes on from there', async () => {
      await fill(log, 4);
      const stop = new AbortController();
      const seen = take(log.tail(1, stop.signal), 7);
      await fill(log, 1, 4);
      for (let last = 0; last < 5; last = (await log.last())?.seq ?? 0);
      await settled(log);
      await harness.loseTail!(3);
      assert.equal((await log.last())?.seq, 2);
      await log.append(text('new'), { expectedLast: 2, id: 'new-3' });
      const events = await seen;
      const expected = ['1:e1', '2:e2', '3:e3', '4:e4', '5:e5', 'truncated to 2', '3:new'];
      assert.deepEqual(events, expected);
    });
  });
}

/** A few round trips: what was on its way to a tail has arrived. */
async function settled(log: Log): Promise<void> {
  for (let i = 0; i < 10; i++) await log.last();
}
