import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NatsLogs } from '../../../cli/operator/nats-logs.ts';
import { credentialsFile, signerOf } from '../../../cli/operator/user-jwt.ts';
import type { LogJob } from '../../../operator/jobs/log-port.ts';
import { sealRecord } from '../../../worker/journal/envelope.ts';
import { emptyLedger, type Ledger } from '../../../worker/journal/index.ts';
import { NatsLog } from '../../../worker/log/nats.ts';
import { logBudget } from '../../../worker/nats/budget.ts';
import { natsSettings } from '../../../worker/nats/config.ts';
import { openNats } from '../../../worker/nats/connect.ts';
import { inboxPrefix, jobNames } from '../../../worker/nats/names.ts';
import { checkStream } from '../../../worker/nats/stream.ts';
import { put, wholeRun } from '../../journal/fixture.ts';
import { freshUid } from '../../nats/job.ts';
import { JwtOperator } from '../../nats/jwt.ts';
import { NatsSystem } from '../../nats/server.ts';
import { jobOf as builtJob } from '../../operator/jobs/builder.ts';
import { missing } from '../../tools/tool.ts';

const skip = await missing('nats-server');
const MOST_BYTES = 1 << 24;
const { spec } = builtJob('tune', { max: 8 });
const jobOf = (uid = freshUid()): LogJob => ({
  uid,
  namespace: 'default',
  name: 'tune',
  createdAt: 1_767_268_800,
  url: undefined,
  replicas: 1,
  spec,
});

describe("the operator's logs on NATS", { skip }, () => {
  const authority = new JwtOperator();
  let system: NatsSystem;
  let folder: string;
  let logs: NatsLogs;

  before(async () => {
    system = await NatsSystem.start({ config: authority.config });
    folder = await mkdtemp(join(tmpdir(), 'onebyte-credentials-'));
    const file = join(folder, 'operator.creds');
    await writeFile(file, authority.credentials('operator'));
    const settings = natsSettings({
      ONEBYTE_NATS_URL: system.urls.join(','),
      ONEBYTE_NATS_CREDENTIALS_FILE: file,
    });
    logs = new NatsLogs({
      settings,
      maxBytes: MOST_BYTES,
      storeBytes: 1 << 20,
      signer: signerOf(authority.accountSeed)!,
    });
  });
  after(async () => {
    await logs?.close();
    await system?.end();
    await rm(folder, { recursive: true, force: true });
  });

  /** Connects as a worker does, with the files that it got. */
  async function asWorker(job: LogJob, worker: string, uid = job.uid) {
    const files = await logs.credentials(job, worker);
    const path = join(folder, `${worker}.creds`);
    await writeFile(path, files!.credentials!);
    return openNats({ servers: system.urls, credentialsFile: path, inboxPrefix: inboxPrefix(uid, worker) });
  }

  test('a log is missing, then empty, then says what its last record says, then is gone', async () => {
    const job = jobOf();
    assert.deepEqual(await logs.last(job), { type: 'missing' });
    assert.equal(await logs.create(job), `onebyte-${job.uid}`);
    assert.equal(await logs.create(job), `onebyte-${job.uid}`, 'making it twice is making it once');
    assert.deepEqual(await logs.last(job), { type: 'empty' });

    const connection = await asWorker(job, 'tune-0');
    const log = new NatsLog(connection, jobNames(job.uid));
    let ledger: Ledger = emptyLedger();
    let seq = 0;
    const append = (data: Uint8Array) => log.append(data, { expectedLast: seq, id: `tune-0-${seq}` });
    for (const record of wholeRun()) {
      seq = await append(sealRecord(ledger, record));
      ledger = put(ledger, record);
      const state = await logs.last(job);
      assert.equal(state.type, 'known');
      if (state.type !== 'known') return;
      const { summary } = state;
      assert.equal(summary.rounds, ledger.totals.rounds);
      assert.equal(summary.payloadBytes, ledger.totals.payloadBytes);
      assert.equal(summary.members, ledger.finished ? 0 : ledger.members.length);
      assert.deepEqual(summary.end, ledger.end && { reason: ledger.end.reason, digest: ledger.end.digest });
    }
    assert.ok(ledger.end, 'the run ended');
    for (const noise of [
      [1, 2, 3],
      [0xb1, 2],
    ]) {
      seq = await append(Uint8Array.from(noise));
      const state = await logs.last(job);
      assert.equal(
        state.type === 'known' && state.summary.end?.digest,
        ledger.end?.digest,
        'noise is passed over',
      );
    }

    await connection.close();
    await logs.remove(job);
    assert.deepEqual(await logs.last(job), { type: 'missing' });
    await logs.remove(job);
  });

  test('a run of another version is said to be one', async () => {
    const job = jobOf();
    await logs.create(job);
    const connection = await asWorker(job, 'tune-0');
    const log = new NatsLog(connection, jobNames(job.uid));
    await log.append(Uint8Array.of(0xb1, 2), { expectedLast: 0, id: 'newer' });
    await assert.rejects(logs.last(job), { code: 'RECORD_VERSION' });
    await connection.close();
    await logs.remove(job);
  });

  test('a log has the room that its plan and most workers need, more when they may be more, and no more than is allowed', async () => {
    const job = jobOf();
    const admin = await openNats({ servers: system.urls, credentialsFile: join(folder, 'operator.creds') });
    const roomAfter = async (max: number) => {
      await logs.create({ ...job, spec: { ...spec, max } });
      return (await checkStream(admin, jobNames(job.uid))).config.max_bytes;
    };
    assert.equal(await roomAfter(8), logBudget(spec, 8));
    assert.equal(await roomAfter(16), logBudget(spec, 16));
    assert.equal(await roomAfter(4), logBudget(spec, 16), 'what it has stays');
    assert.equal(await roomAfter(100_000), MOST_BYTES);
    await admin.close();
    await logs.remove(job);
  });

  test('a job whose workers need a basis has no log without a store, and any other has', async () => {
    const small = await NatsSystem.start({ jetstream: { max_file_store: 1 << 26 } });
    const settings = natsSettings({ ONEBYTE_NATS_URL: small.url() });
    const few = new NatsLogs({ settings, maxBytes: 1 << 20, storeBytes: 1 << 30 });
    const calibration = { uri: 'https://data.example.com/public.jsonl' };
    const scope = { type: 'subspace', basis: { type: 'activation', calibration } };
    const basis = builtJob('tune', { method: { plan: [{ scope, rounds: 10 }] } });
    const job = { ...jobOf(), spec: basis.spec };
    try {
      await assert.rejects(few.create(job), { code: 'NATS_STREAM_INVALID', message: /activation basis/ });
      assert.deepEqual(await few.last(job), { type: 'missing' });
      const env = [{ name: 'ONEBYTE_STORE', value: '/shared' }];
      const template = { spec: { containers: [{ name: 'worker', env }] } };
      const groups = [{ name: 'north', template, replicas: 1 }];
      // A folder that workers share is in the store's place.
      const shared = [template, undefined].map((own) => ({
        ...jobOf(),
        spec: { ...basis.spec, ...(own ? { template: own } : { groups }) },
      }));
      for (const other of [jobOf(), ...shared]) {
        await few.create(other);
        assert.deepEqual(await few.last(other), { type: 'empty' });
      }
    } finally {
      await few.close();
      await small.end();
    }
  });

  test('credentials are the same at every call, and open this worker’s own log and no other', async () => {
    const [job, other] = [jobOf(), jobOf()];
    await logs.create(job);
    await logs.create(other);
    assert.deepEqual(await logs.credentials(job, 'tune-1'), await logs.credentials(job, 'tune-1'));
    assert.notDeepEqual(await logs.credentials(job, 'tune-1'), await logs.credentials(job, 'tune-2'));
    const connection = await asWorker(job, 'tune-1');
    const own = new NatsLog(connection, jobNames(job.uid));
    assert.equal(await own.append(new Uint8Array([1]), { expectedLast: 0, id: 'a' }), 1);
    const foreign = new NatsLog(connection, jobNames(other.uid), { timeoutMs: 500 });
    await assert.rejects(foreign.append(new Uint8Array([1]), { expectedLast: 0, id: 'b' }), {
      code: 'NATS_DENIED',
    });
    await connection.close();
    assert.deepEqual(await logs.last(other), { type: 'empty' });
  });

  test('a job with a server of its own gets no credentials of ours', async () => {
    assert.equal(await logs.credentials({ ...jobOf(), url: 'nats://elsewhere:4222' }, 'tune-0'), null);
  });

  test('a job with a server of its own is asked about there, and in no domain of ours', async () => {
    const open = await NatsSystem.start();
    const env = { ONEBYTE_NATS_URL: 'nats://127.0.0.1:1', ONEBYTE_NATS_DOMAIN: 'hub' };
    const both = new NatsLogs({ settings: natsSettings(env), maxBytes: 1 << 20, storeBytes: 0 });
    try {
      const job = { ...jobOf(), url: open.urls.join(',') };
      await both.create(job);
      assert.deepEqual(await both.last(job), { type: 'empty' });

      const other = { ...job, uid: freshUid() };
      await both.create(other);
      assert.deepEqual(both.servers, [job.url]);
      both.leave(job.uid);
      assert.deepEqual(await both.last(other), { type: 'empty' }, 'another job is still asked about there');
      await both.remove(other);
      assert.deepEqual(both.servers, [], 'the last one closes the connection');
      assert.deepEqual(await both.last(job), { type: 'empty' }, 'which is made anew for whoever comes');
      both.leave(job.uid);
      assert.deepEqual(both.servers, []);
    } finally {
      await both.close();
      await open.end();
    }
  });

  test('a server that does not answer is an error that says so', async () => {
    const settings = natsSettings({ ONEBYTE_NATS_URL: 'nats://127.0.0.1:1' });
    const deaf = new NatsLogs({ settings, maxBytes: 1 << 20, storeBytes: 0 });
    await assert.rejects(deaf.last(jobOf()), { code: 'NATS_UNREACHABLE' });
    await deaf.close();
  });

  test('a key is found in what nsc writes around it, and a signing key names its account', () => {
    assert.equal(signerOf('nothing here'), null);
    const text = `-----BEGIN ACCOUNT SEED-----\n${authority.accountSeed}\n-----END ACCOUNT SEED-----\n`;
    const signer = signerOf(text, 'ACCOUNT')!;
    const file = credentialsFile(signer, 'u', { publish: { allow: [] }, subscribe: { allow: [] } }, 1);
    const [, jwt] = /BEGIN NATS USER JWT-----\n(.*)\n/.exec(file)!;
    const claims = JSON.parse(Buffer.from(jwt!.split('.')[1]!, 'base64url').toString());
    assert.equal(claims.nats.issuer_account, 'ACCOUNT');
    assert.equal(claims.iat, 1);
  });
});
