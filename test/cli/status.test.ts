import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { watch } from '../../cli/status-watch.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { emptyLedger } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';
import { openNats } from '../../worker/nats/connect.ts';
import { inboxPrefix, jobNames } from '../../worker/nats/names.ts';
import { watcherPermissions } from '../../worker/nats/permissions.ts';
import { createStream } from '../../worker/nats/stream.ts';
import { genesisOf, joinOf, put, roundOf } from '../journal/fixture.ts';
import { TestJob } from '../nats/job.ts';
import { NatsSystem } from '../nats/server.ts';
import { cutStore } from '../nats/store.ts';
import { Lab } from '../service/lab.ts';
import { missing } from '../tools/tool.ts';

const skip = await missing('nats-server');
const MAIN = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');
const MAX_BYTES = 1 << 24;

describe('onebyte status', { skip }, () => {
  let system: NatsSystem;
  let lab: Lab;
  before(async () => {
    [system, lab] = await Promise.all([NatsSystem.start(), Lab.make()]);
  });
  after(async () => {
    await system.end();
    await lab.remove();
  });

  function start(args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(process.execPath, [MAIN, 'status', ...args], {
      env: { PATH: process.env.PATH, NO_COLOR: '1', ...env },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    return new Promise<{ code: number | null; said: string }>((resolve) =>
      child.once('close', (code) => resolve({ code, said })),
    );
  }
  const status = (...args: string[]) => start(['--nats', system.url(), ...args]);

  it('follows a run from its empty log to its end, by UID, by name and by directory', async () => {
    await lab.job({ name: 'followed', rounds: 60 });
    const job = await TestJob.make(system, MAX_BYTES);
    const { uid } = job.names;
    const empty = await status(uid);
    assert.equal(empty.code, 0, empty.said);
    assert.match(empty.said, /nothing is in the log yet/);
    const watching = status(uid, '--watch');
    const worker = lab.worker(system, uid, 0);
    assert.equal((await worker.ended).code, 0, worker.stderr);
    const { digest } = await worker.said(/has ended/);

    const watched = await watching;
    assert.equal(watched.code, 0, watched.said);
    assert.match(watched.said, /lab-p0-0/);
    await writeFile(lab.path('nats.json'), JSON.stringify({ uid, prefix: 'onebyte' }));
    for (const name of [uid, 'followed', lab.folder]) {
      const { code, said } = await status(name);
      assert.equal(code, 0, said);
      assert.match(said, new RegExp(`^run +${uid}$`, 'm'));
      assert.match(said, /^state +ended, by rounds$/m);
      assert.match(said, /^round +\d+ of 60, 100 %$/m);
      assert.match(said, /^validation loss .* -> .*12 examples\)$/m);
      assert.match(said, new RegExp(`^digest +${digest}$`, 'm'));
    }
    const json = JSON.parse((await status(uid, '--json')).said);
    assert.equal(json.end.digest, digest);
    assert.equal(json.progress.totals.rounds, 60);
    await job.close();
  });

  it('goes on showing a run whose log lost its last records and grew again', async () => {
    const own = await NatsSystem.start();
    const job = await TestJob.make(own, MAX_BYTES);
    const log = await job.log();
    let ledger = emptyLedger();
    const ledgers = [ledger];
    const append = async (record: JournalRecord) => {
      const seq = ledger.records;
      await log.append(sealRecord(ledger, record), { expectedLast: seq, id: `${seq}-${ledgers.length}` });
      ledger = put(ledger, record);
      ledgers.push(ledger);
    };
    await append(genesisOf());
    await append(roundOf(ledger, { joins: [joinOf(0)], bytes: [] }));
    for (let i = 0; i < 4; i++) await append(roundOf(ledger));
    const stop = new AbortController();
    const shown = new PassThrough();
    let said = '';
    const saying = async (text: RegExp) => {
      while (!text.test(said)) await once(shown, 'data');
    };
    shown.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const watching = watch({ log: await job.log() }, shown as unknown as NodeJS.WriteStream, stop.signal);
    await saying(/goes on from round/);
    await own.kill();
    const last = await cutStore(own, job.names.stream, 3);
    await own.start();
    await saying(/lost its last records/);
    ledger = ledgers[last]!;
    await append(roundOf(ledger, { joins: [joinOf(9)] }));
    await saying(/worker-9/);
    stop.abort();
    await watching;
    await job.close();
    await own.end();
  });

  it('ends its watch when its reader has gone', async () => {
    await lab.job({ name: 'unread', rounds: 100_000 });
    const job = await TestJob.make(system, MAX_BYTES);
    const worker = lab.worker(system, job.names.uid, 0);
    const script = `"$@" | head -n 1; exit \${PIPESTATUS[0]}`;
    const watching = [process.execPath, MAIN, 'status', '--nats', system.url(), job.names.uid, '--watch'];
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', script, 'bash', ...watching]);
    assert.match(stdout, /^unread.*\n$/);
    assert.equal(stderr, '');
    await worker.kill();
    await job.close();
  });

  it('is content with what a watcher may do', async () => {
    const names = jobNames(lab.freshUid());
    const users = [
      { user: 'admin', password: 'admin' },
      { user: 'w', password: 'w', permissions: watcherPermissions({ names }, 'w') },
    ];
    const guarded = await NatsSystem.start({ config: { authorization: { users } } });
    const admin = await openNats({ servers: guarded.urls, user: 'admin', password: 'admin' });
    await createStream(admin, names, { maxBytes: MAX_BYTES });
    const env = {
      ONEBYTE_NATS_USER: 'w',
      ONEBYTE_NATS_PASSWORD: 'w',
      ONEBYTE_NATS_INBOX: inboxPrefix(names.uid, 'w'),
    };
    const { code, said } = await start([names.uid, '--nats', guarded.url()], env);
    assert.equal(code, 0, said);
    const other = await start([lab.freshUid(), '--nats', guarded.url()], env);
    assert.equal(other.code, 2);
    assert.match(other.said, /^error NATS_DENIED/);
    await admin.close();
    await guarded.end();
  });

  it('says that there is no such run, that there is no server, or none with JetStream', async () => {
    const unknown = await status('nobody');
    assert.equal(unknown.code, 1);
    assert.match(
      unknown.said,
      /^error NATS_STREAM_MISSING: no run on this server has the UID or the name nobody/,
    );
    const nowhere = await start(['x', '--nats', 'nats://127.0.0.1:1']);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.said, /^error NATS_UNREACHABLE/);
    const off = await NatsSystem.start({ jetstream: null });
    const silent = await start(['x', '--nats', off.url()]);
    await off.end();
    const elsewhere = await start(['x', '--nats', system.url()], { ONEBYTE_NATS_DOMAIN: 'elsewhere' });
    for (const { code, said } of [silent, elsewhere]) {
      assert.equal(code, 1);
      assert.match(
        said,
        /^error NATS_UNREACHABLE: JetStream does not answer[\s\S]*nats-server -js.*ONEBYTE_NATS_DOMAIN/,
      );
    }
    const unset = await start(['x']);
    assert.equal(unset.code, 2);
    assert.match(unset.said, /^error NATS_CONFIG_INVALID[\s\S]*ONEBYTE_NATS_URL/);
  });
});
