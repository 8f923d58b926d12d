import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import fc from 'fast-check';
import { LogConflict, type LogEntry } from '../../worker/log/log.ts';
import type { NatsLog } from '../../worker/log/nats.ts';
import { Prints } from '../../worker/nats/prints.ts';
import { createStream, deleteStream } from '../../worker/nats/stream.ts';
import { chooser } from '../replica/run.ts';
import { missing } from '../tools/tool.ts';
import { TestJob } from './job.ts';
import { NatsSystem } from './server.ts';
import { cutStore } from './store.ts';

const skip = await missing('nats-server');
const MAX_BYTES = 1 << 20;

/** A reader's copy of a log, kept by its tail alone. */
class Copy {
  readonly entries: string[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(log: NatsLog, from = 1) {
    this.#done = (async () => {
      for await (const event of log.tail(from, this.#stop.signal))
        if (event.type === 'truncated') this.entries.length = Math.min(this.entries.length, event.last);
        else {
          assert.equal(event.entry.seq, this.entries.length + 1);
          this.entries.push(Buffer.from(event.entry.data).toString('hex'));
        }
    })();
  }

  async equals(log: NatsLog): Promise<void> {
    const expected: string[] = [];
    for await (const { data } of log.read(1)) expected.push(Buffer.from(data).toString('hex'));
    const same = () => this.entries.length === expected.length && this.entries.at(-1) === expected.at(-1);
    // A tail that fails is to fail the test, not to keep it waiting.
    while (!same()) await Promise.race([this.#done, new Promise((resolve) => setTimeout(resolve, 20))]);
    assert.deepEqual(this.entries, expected);
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

describe('the tail of a log on NATS', { skip }, () => {
  let system: NatsSystem;
  before(async () => {
    system = await NatsSystem.start();
  });
  after(() => system.end());

  it('begins with what it was offered, and takes back what the log does not hold of it', async () => {
    const job = await TestJob.make(system, MAX_BYTES);
    const writer = await job.log();
    const entry = (seq: number, byte = seq): LogEntry => ({ seq, data: Uint8Array.of(byte) });
    for (let seq = 1; seq <= 20; seq++)
      await writer.append(entry(seq).data, { expectedLast: seq - 1, id: `${seq}` });
    for (const [what, offered, back] of [
      ['all of it right', [5, 6, 7, 8].map((seq) => entry(seq)), null],
      ['some of it wrong', [5, 6, 7, 8].map((seq) => entry(seq, seq > 6 ? 99 : seq)), 6],
      ['all of it wrong', [5, 6, 7].map((seq) => entry(seq, 99)), 4],
      ['more than there is', Array.from({ length: 30 }, (_, i) => entry(i + 5)), 20],
      ['something else', [entry(9), entry(10)], null],
    ] as const) {
      const log = await job.log();
      log.offer(offered);
      const seen: LogEntry[] = [];
      let last: number | null = null;
      for await (const event of log.tail(5, new AbortController().signal)) {
        if (event.type === 'truncated') {
          last = event.last;
          seen.length = last - 4;
        } else seen.push(event.entry);
        const right = seen.length === 16 && seen.every(({ seq, data }) => data[0] === seq);
        if (right && (back === null || last !== null)) break;
      }
      assert.equal(last, back, what);
      assert.deepEqual(
        seen.map(({ seq }) => seq),
        Array.from({ length: 16 }, (_, i) => i + 5),
      );
    }
    await job.close();
  });

  for (const seed of [1, 2, 28])
    it(`keeps a copy equal to the log whatever befalls that (seed ${seed})`, async () => {
      const choose = chooser(seed);
      const job = await TestJob.make(system, MAX_BYTES);
      const [reader, writer] = [await job.log(), await job.log()];
      const copies = [new Copy(reader)];
      let made = 0;
      const append = async () => {
        const last = (await writer.last())?.seq ?? 0;
        const data = Uint8Array.from({ length: 1 + choose(40) }, () => choose(256));
        await writer.append(data, { expectedLast: last, id: `${seed}-${made++}` });
      };
      for (let step = 0; step < 30; step++) {
        const what = choose(20);
        if (what < 12) for (let i = choose(8); i >= 0; i--) await append();
        else if (what < 14) copies.push(new Copy(await job.log()));
        else if (what < 16) await system.restart();
        else if (what < 17) {
          const connection = await job.connect();
          await deleteStream(connection, job.names);
          await createStream(connection, job.names, { maxBytes: MAX_BYTES });
          await append();
        } else {
          const last = (await writer.last())?.seq ?? 0;
          if (last < 2) continue;
          if (choose(2) === 0) for (const copy of copies) await copy.equals(writer);
          await system.kill();
          await cutStore(system, job.names.stream, 1 + choose(last - 1), {
            notes: choose(2) === 0 ? 'keep' : 'drop',
          });
          await system.start();
          // Sometimes it has grown past its old end before anybody looks.
          for (let i = choose(2) * choose(last + 5); i > 0; i--) await append();
        }
      }
      await append();
      for (const copy of copies) await copy.equals(writer);
      for (const copy of copies) await copy.end();
      await job.close();
    });

  it('goes on from where the reader stopped, and sees what was lost meanwhile', async () => {
    const job = await TestJob.make(system, MAX_BYTES);
    const log = await job.log();
    const put = (last: number, text: string) =>
      log.append(new TextEncoder().encode(text), { expectedLast: last, id: text });
    for (let last = 0; last < 5; last++) await put(last, `a${last}`);
    const take = async (from: number, count: number) => {
      const seen: string[] = [];
      for await (const event of log.tail(from, new AbortController().signal)) {
        seen.push(event.type === 'truncated' ? `truncated to ${event.last}` : `${event.entry.seq}`);
        if (seen.length === count) break;
      }
      return seen;
    };
    assert.deepEqual(await take(1, 5), ['1', '2', '3', '4', '5']);
    await system.kill();
    await cutStore(system, job.names.stream, 3);
    await system.start();
    for (let last = 2; last < 8; last++) await put(last, `b${last}`);
    assert.deepEqual(await take(6, 3), ['truncated to 2', '3', '4']);
    await job.close();
  });

  it('finds entries whose news was lost: at once after an own append or conflict, else after a silence', async () => {
    const job = await TestJob.make(system, MAX_BYTES);
    const [log, other] = [await job.log(), await job.log()];
    const copies = [new Copy(log), new Copy(other)];
    await log.append(Uint8Array.of(0), { expectedLast: 0, id: '0' });
    for (const copy of copies) await copy.equals(log);
    const jsm = await jetstreamManager(await job.connect());
    const { config } = await jsm.streams.info(job.names.stream);
    const { republish: _, ...silent } = config;
    await jsm.streams.update(job.names.stream, silent);
    for (let last = 1; last < 5; last++)
      await log.append(Uint8Array.of(last), { expectedLast: last, id: `${last}` });
    await copies[0]!.equals(log);
    await assert.rejects(other.append(Uint8Array.of(9), { expectedLast: 3, id: '9' }), LogConflict);
    await copies[1]!.equals(log);
    await log.append(Uint8Array.of(5), { expectedLast: 5, id: '5' });
    await copies[1]!.equals(log);
    for (const copy of copies) await copy.end();
    await job.close();
  });
});

describe('the prints of what was delivered', () => {
  const entry = (seq: number, byte: number): LogEntry => ({ seq, data: Uint8Array.of(byte) });

  it('fit what was added and nothing else, and are cut with the log', () => {
    fc.assert(
      fc.property(
        fc.nat(5),
        fc.uint8Array({ minLength: 1, maxLength: 20 }),
        fc.nat(30),
        (skipped, bytes, last) => {
          const from = skipped + 1;
          const prints = new Prints(from);
          for (const [i, byte] of bytes.entries()) prints.add(entry(from + i, byte));
          assert.equal(prints.last, skipped + bytes.length);
          bytes.forEach((byte, i) => {
            assert.ok(prints.fits(entry(from + i, byte)));
            assert.ok(!prints.fits(entry(from + i, byte ^ 1)));
          });
          assert.ok(!prints.fits(entry(skipped, 0)));
          assert.ok(!prints.fits(entry(prints.last + 1, 0)));
          const before = prints.before(last + 1);
          assert.equal(before.last, last);
          const end = Math.min(last, prints.last);
          prints.cut(end);
          assert.equal(prints.last, end);
          if (last <= skipped + bytes.length && last >= from) assert.deepEqual(before.values, prints.values);
        },
      ),
    );
  });
});
