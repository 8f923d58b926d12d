import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { type Channel, portChannel } from '../../worker/log/channel.ts';
import { EmbeddedLog } from '../../worker/log/embedded.ts';
import { IpcLog, serveLog } from '../../worker/log/ipc.ts';
import { LogUnavailable } from '../../worker/log/log.ts';
import { fill, logContract, text } from './contract.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-ipc-'));
after(() => rmSync(root, { recursive: true }));
let files = 0;
const openLog = (maxBytes = Number.POSITIVE_INFINITY) =>
  EmbeddedLog.open(join(root, `log-${files++}`), { fsync: false, maxBytes });

/** The two ends of a channel within this process. */
function ends(): { near: Channel; far: Channel; close: () => void } {
  const { port1, port2 } = new MessageChannel();
  return { near: portChannel(port1), far: portChannel(port2), close: () => port1.close() };
}

logContract('the log over message ports', async () => {
  const path = join(root, `log-${files++}`);
  // Header, 64 frames, and the names e1 .. e64.
  const maxBytes = 8 + 64 * 8 + (9 * 2 + 55 * 3);
  let log = await EmbeddedLog.open(path, { fsync: false, maxBytes });
  let closers: (() => void)[] = [];
  const stop = async () => {
    for (const close of closers) close();
    closers = [];
    await log.close();
  };
  return {
    limit: 64,
    connect: async () => {
      const { near, far, close } = ends();
      closers.push(close);
      serveLog(log, near);
      return new IpcLog(far);
    },
    reopen: async () => {
      await stop();
      log = await EmbeddedLog.open(path, { fsync: false, maxBytes });
    },
    close: stop,
  };
});

describe('the log over a channel', () => {
  it('gives a reader that is far behind everything, in order', async () => {
    const log = await openLog();
    await fill(log, 3000);
    const { near, far, close } = ends();
    serveLog(log, near);
    const client = new IpcLog(far);
    let next = 1;
    for await (const event of client.tail(1, new AbortController().signal)) {
      assert.ok(event.type === 'entry' && event.entry.seq === next);
      if (next % 500 === 0) await new Promise(setImmediate);
      if (next === 3000) await fill(log, 1, 3000);
      if (next++ === 3001) break;
    }
    close();
    await log.close();
  });

  it('sends a reader that takes nothing only a few batches', async () => {
    const log = await openLog();
    await fill(log, 5000);
    const { near, far, close } = ends();
    serveLog(log, near);
    let items = 0;
    far.onMessage((message) => {
      items += (message as { items?: unknown[] }).items?.length ?? 0;
    });
    far.post({ plane: 'log', type: 'tail', call: 0, from: 1 });
    const turns = () => new Promise<void>((resolve) => setTimeout(resolve, 5));
    for (let before = -1; before !== items || items === 0; await turns()) before = items;
    assert.ok(items <= 4 * 256, `${items} entries`);
    far.post({ plane: 'log', type: 'more', call: 0, batches: 1 });
    for (const before = items; before === items; ) await turns();
    assert.ok(items <= 5 * 256, `${items} entries`);
    close();
    await log.close();
  });

  it('is unavailable, not for ever silent, when nobody answers', async () => {
    const { far, close } = ends();
    const client = new IpcLog(far, { timeoutMs: 10 });
    await assert.rejects(client.append(text('x'), { expectedLast: 0, id: 'x' }), LogUnavailable);
    await assert.rejects(client.last(), LogUnavailable);
    close();
  });

  it('fails its calls and tails when the holder of the log is gone', async () => {
    const { far, close } = ends();
    const client = new IpcLog(far);
    const call = client.last();
    const tail = (async () => {
      for await (const _ of client.tail(1, new AbortController().signal)) assert.fail('an event');
    })();
    setImmediate(close);
    await assert.rejects(call, LogUnavailable);
    await assert.rejects(tail, LogUnavailable);
    await assert.rejects(client.append(text('x'), { expectedLast: 0, id: 'x' }), LogUnavailable);
  });

  it('leaves messages of others on the same channel alone', async () => {
    const log = await openLog();
    const { near, far, close } = ends();
    const service = serveLog(log, near);
    const client = new IpcLog(far);
    for (const noise of [null, 7, 'text', {}, { plane: 'bus', type: 'append', call: 0 }]) {
      far.post(noise);
      near.post(noise);
    }
    assert.equal(await client.append(text('x'), { expectedLast: 0, id: 'x' }), 1);
    assert.equal(service.traffic.received.messages, 1);
    assert.equal(service.traffic.received.payload, 1);
    close();
    await log.close();
  });
});
