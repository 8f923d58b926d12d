import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { childChannel } from '../../worker/log/channel.ts';
import { EmbeddedLog } from '../../worker/log/embedded.ts';
import { IpcLog, serveLog } from '../../worker/log/ipc.ts';
import { type Log, LogUnavailable } from '../../worker/log/log.ts';
import { FRAME_HEAD, LOG_HEADER } from '../../worker/log/log-file.ts';
import { collect, fill, logContract, text } from './contract.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-log-'));
after(() => rmSync(root, { recursive: true }));
let files = 0;
const freshPath = () => join(root, `log-${files++}`);

const LIMIT = 64;
/** Room for the entries `e1`, `e2`, .. of the contract. */
const MAX_BYTES =
  LOG_HEADER.length +
  Array.from({ length: LIMIT }, (_, i) => FRAME_HEAD + `e${i + 1}`.length).reduce((a, b) => a + b);

function forked(script: string, ...args: string[]): ChildProcess {
  return fork(join(import.meta.dirname, script), args, { serialization: 'advanced' });
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

logContract('the embedded log', async () => {
  const path = freshPath();
  let log = await EmbeddedLog.open(path, { maxBytes: MAX_BYTES });
  return {
    limit: LIMIT,
    // Inside one process all share the log; each gets an end of its own over a channel within the process.
    connect: async () => localClient(log),
    reopen: async () => {
      await log.close();
      log = await EmbeddedLog.open(path, { maxBytes: MAX_BYTES });
    },
    close: () => log.close(),
  };
});

/** The log itself, but for `close`, which ends only this client's tails. */
function localClient(log: EmbeddedLog): Log {
  const closed = new AbortController();
  return {
    append: (data, options) => log.append(data, options),
    last: () => log.last(),
    read: (from, to) => log.read(from, to),
    tail: (from, signal) => log.tail(from, AbortSignal.any([signal, closed.signal])),
    close: async () => closed.abort(),
  };
}

logContract('the embedded log through child processes', async () => {
  const path = freshPath();
  let log = await EmbeddedLog.open(path, { maxBytes: MAX_BYTES });
  let children: ChildProcess[] = [];
  const stop = async () => {
    await Promise.all(children.map(killed));
    children = [];
    await log.close();
  };
  return {
    limit: LIMIT,
    connect: async () => {
      const child = forked('relay.ts');
      children.push(child);
      serveLog(log, childChannel(child));
      const client = new IpcLog(childChannel(child), { plane: 'relay' });
      await client.last();
      return client;
    },
    reopen: async () => {
      await stop();
      log = await EmbeddedLog.open(path, { maxBytes: MAX_BYTES });
    },
    close: stop,
  };
});

describe('the embedded log on disk', () => {
  it('cut off at any byte opens with its whole entries and says what it cut away', async () => {
    const path = freshPath();
    const log = await EmbeddedLog.open(path);
    const ends = [LOG_HEADER.length];
    for (let i = 0; i < 4; i++) {
      await fill(log, 1, i);
      ends.push(readFileSync(path).length);
    }
    await log.close();
    const bytes = readFileSync(path);
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      const cut = await EmbeddedLog.open(path, { fsync: false });
      const whole = ends.filter((end) => end <= length).length - 1;
      assert.equal(cut.length, Math.max(0, whole), `${length} bytes`);
      assert.equal(cut.torn, whole < 0 ? length : length - ends[whole]!);
      await fill(cut, 1, cut.length);
      assert.equal((await collect(cut.read(1))).length, cut.length);
      await cut.close();
    }
  });

  it('treats a last entry of garbage or zeros, of any length, as torn', async () => {
    const path = freshPath();
    const log = await EmbeddedLog.open(path);
    await fill(log, 2);
    await log.close();
    const bytes = readFileSync(path);
    for (const [length, byte] of [
      [1, 0],
      [8, 0],
      [4096, 0],
      [100, 255],
      [100, 7],
    ] as const) {
      writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(length, byte)]));
      const again = await EmbeddedLog.open(path);
      assert.deepEqual([again.length, again.torn], [2, length]);
      await again.close();
      assert.deepEqual(readFileSync(path), bytes);
    }
  });

  it('with a byte changed anywhere never gives other entries: torn at the end, damaged before it', async () => {
    const path = freshPath();
    const log = await EmbeddedLog.open(path);
    await fill(log, 3);
    await log.close();
    const bytes = readFileSync(path);
    const lastStart = bytes.length - FRAME_HEAD - 2;
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 0x41;
      writeFileSync(path, changed);
      if (at < lastStart && at !== LOG_HEADER.length - 1) {
        const code = at === LOG_HEADER.length - 2 ? 'LOG_VERSION' : 'LOG_CORRUPT';
        await assert.rejects(EmbeddedLog.open(path), { code }, `byte ${at}`);
        continue;
      }
      const opened = await EmbeddedLog.open(path);
      assert.ok(opened.length >= 2);
      assert.deepEqual((await collect(opened.read(1))).slice(0, 2), ['1:e1', '2:e2']);
      await opened.close();
    }
    assert.equal(existsSync(`${path}.lock`), false);
  });

  it('refuses a file that is something else', async () => {
    const path = freshPath();
    writeFileSync(path, 'a diary');
    await assert.rejects(EmbeddedLog.open(path), { code: 'LOG_CORRUPT', message: /not a log/ });
  });

  it('keeps its last whole entry when the disk is full in the middle of a write', () => {
    const path = freshPath();
    // A limit on file sizes refuses the write as a full disk does, after a part of it.
    const script = `
      import { EmbeddedLog } from ${JSON.stringify(new URL('../../worker/log/embedded.ts', import.meta.url).href)};
      process.on('SIGXFSZ', () => {});
      const log = await EmbeddedLog.open(${JSON.stringify(path)});
      const names = [];
      for (let i = 0; i < 3; i++)
        try { names.push(await log.append(new Uint8Array(1500).fill(i), { expectedLast: log.length, id: 'x' + i })); }
        catch (error) { names.push(error.name); }
      names.push(await log.append(new Uint8Array(8), { expectedLast: log.length, id: 'small' }));
      await log.close();
      console.log(JSON.stringify(names));`;
    const limited = `ulimit -f 4; exec "$0" --input-type=module-typescript -e "$1"`;
    const { stdout, stderr } = spawnSync('sh', ['-c', limited, process.execPath, script], {
      encoding: 'utf8',
    });
    assert.equal(stdout.trim(), '[1,"LogFull","LogFull",2]', stderr);
    assert.equal(readFileSync(path).length, LOG_HEADER.length + 2 * FRAME_HEAD + 1500 + 8);
  });
});

describe('the lock of the embedded log', () => {
  it('refuses a second run on the same log with the process id of the first', async () => {
    const path = freshPath();
    const child = forked('writer.ts', path);
    await once(child, 'message');
    const message = new RegExp(`process ${child.pid}$`);
    await assert.rejects(EmbeddedLog.open(path), { code: 'LOG_LOCKED', message });
    await killed(child);
  });

  it('refuses a second open in the same process, and lets go when closed', async () => {
    const path = freshPath();
    const log = await EmbeddedLog.open(path);
    await assert.rejects(EmbeddedLog.open(path), { code: 'LOG_LOCKED' });
    await log.close();
    await log.close();
    await (await EmbeddedLog.open(path)).close();
  });

  it('is taken over from a process that is gone, or whose id another process got', async () => {
    const path = freshPath();
    const gone = spawnSync(process.execPath, ['-e', '']).pid;
    for (const content of [
      JSON.stringify({ pid: gone, start: '' }),
      JSON.stringify({ pid: process.pid, start: 'another boot 1' }),
      'half a li',
    ]) {
      writeFileSync(`${path}.lock`, content);
      await (await EmbeddedLog.open(path)).close();
      assert.equal(existsSync(`${path}.lock`), false);
    }
  });
});

describe('kill -9', () => {
  it('of the process that holds the log loses nothing that it acknowledged', async () => {
    const path = freshPath();
    for (let run = 0, acknowledged = 0; run < 3; run++) {
      const child = forked('writer.ts', path, '3000');
      child.on('message', (seq) => {
        acknowledged = seq as number;
      });
      const enough = acknowledged + 20;
      while (acknowledged < enough) await once(child, 'message');
      await killed(child);
      const log = await EmbeddedLog.open(path);
      assert.ok(log.length >= acknowledged, `${log.length} of ${acknowledged}`);
      let next = 1;
      for await (const { seq, data } of log.read(1)) {
        assert.equal(seq, next++);
        assert.ok(data.length === 3000 && data.every((byte) => byte === seq % 256));
      }
      await log.close();
    }
  });

  it('of a worker in the middle of its work leaves the log and the other workers as they are', async () => {
    const log = await EmbeddedLog.open(freshPath());
    const [victim, witness] = [forked('relay.ts'), forked('relay.ts')];
    const services = [victim, witness].map((child) => serveLog(log, childChannel(child)));
    const [a, b] = [victim, witness].map((child) => new IpcLog(childChannel(child), { plane: 'relay' }));
    const stop = new AbortController();
    const seen = (async () => {
      const all: number[] = [];
      for await (const event of b!.tail(1, stop.signal)) {
        if (event.type === 'entry') all.push(event.entry.seq);
        if (all.length === 30) break;
      }
      return all;
    })();
    await fill(a!, 10);
    const doubtful = a!.append(text('in flight'), { expectedLast: 10, id: 'doubt' }).catch((error) => error);
    victim.kill('SIGKILL');
    const outcome = await doubtful;
    assert.ok(outcome === 11 || outcome instanceof LogUnavailable);
    await assert.rejects(a!.last(), LogUnavailable);
    await fill(b!, 30 - log.length, log.length);
    assert.deepEqual(
      await seen,
      Array.from({ length: 30 }, (_, i) => i + 1),
    );
    const { sent, received } = services[1]!.traffic;
    assert.ok(sent.payload > 0 && sent.bytes > sent.payload);
    assert.ok(received.payload > 0 && received.bytes > received.payload);
    await killed(witness);
    await log.close();
  });
});
