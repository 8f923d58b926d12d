import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { openNats } from '../../worker/nats/connect.ts';
import { jobNames, METADATA } from '../../worker/nats/names.ts';
import { workerPermissions } from '../../worker/nats/permissions.ts';
import { createStream } from '../../worker/nats/stream.ts';
import type { TestJob } from '../nats/job.ts';
import { NatsSystem } from '../nats/server.ts';
import { missing } from '../tools/tool.ts';
import { ground } from './ground.ts';
import { Lab, WorkerProcess } from './lab.ts';

const skip = await missing('nats-server');
const MAX_BYTES = 1 << 24;
const ENDLESS = 1_000_000;

describe('onebyte worker, set up wrongly,', { skip }, () => {
  const on = ground();
  const { start } = on;

  /** The worker ends with this exit code, and says why in its termination log. */
  async function refuses(worker: WorkerProcess, party: number, code: number, why: RegExp, from = on.lab) {
    assert.deepEqual(await worker.ended, { code, signal: null });
    assert.match(await from.lastWords(`lab-p${party}-0`), why);
    assert.match(worker.stderr, /^error [A-Z_]+: /);
  }

  /** A run that another worker has begun. */
  async function begun(): Promise<TestJob> {
    await on.lab.job({ rounds: ENDLESS });
    const job = await on.make();
    const first = start(job.names.uid, 0);
    await first.answers('/startupz', 200);
    return job;
  }

  it('names every variable that is wrong', async () => {
    const worker = new WorkerProcess({
      ONEBYTE_PORT: 'many',
      ONEBYTE_NATS_URL: on.system.url(),
      ONEBYTE_TERMINATION_LOG: on.lab.termination('lab-p0-0'),
    });
    await refuses(
      worker,
      0,
      2,
      /^WORKER_CONFIG_INVALID: [\s\S]*ONEBYTE_JOB: is missing[\s\S]*ONEBYTE_JOB_UID: is missing[\s\S]*ONEBYTE_PORT: [\s\S]*field: ONEBYTE_JOB\nremedy: /,
    );
  });

  it('says which line of its job file is wrong', async () => {
    const file = await on.lab.job();
    await writeFile(file, (await readFile(file, 'utf8')).replace('seed: 1', 'seed: -1'));
    await refuses(
      start(on.lab.freshUid(), 0),
      0,
      2,
      /^JOB_INVALID: .*job\.yaml:\d+: spec\.seed: [\s\S]*field: spec\.seed\n/,
    );
  });

  it('says which group the job does not have', async () => {
    await on.lab.job();
    const worker = start(on.lab.freshUid(), 0, { ONEBYTE_GROUP: 'p9' });
    await refuses(
      worker,
      0,
      2,
      /^WORKER_CONFIG_INVALID: .*no group 'p9'\nfield: ONEBYTE_GROUP\nremedy: .*p0, p1, p2/,
    );
  });

  it('refuses weights of another digest', async () => {
    const job = await begun();
    const elsewhere = await Lab.make();
    await elsewhere.job({ rounds: ENDLESS });
    const weights = await readFile(elsewhere.path('model/model.safetensors'));
    weights[weights.length - 1]! ^= 1;
    await writeFile(elsewhere.path('model/model.safetensors'), weights);
    const worker = start(job.names.uid, 1, {}, elsewhere);
    await refuses(worker, 1, 2, /^DIGEST_MISMATCH: .*\nfield: model\.sha256\nremedy: /, elsewhere);
    await elsewhere.remove();
  });

  it('refuses another tokenizer beside the right weights', async () => {
    const job = await begun();
    const elsewhere = await Lab.make();
    await elsewhere.job({ rounds: ENDLESS });
    const path = elsewhere.path('model/tokenizer.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"film"', '"movie"'));
    const worker = start(job.names.uid, 1, {}, elsewhere);
    await refuses(worker, 1, 2, /^MODEL_MISMATCH: .*tokenizer.*\nfield: model\nremedy: /, elsewhere);
    await elsewhere.remove();
  });

  it('refuses another job than the one in the log, and says where they differ', async () => {
    const job = await begun();
    const other = await on.lab.job({ rounds: ENDLESS, seed: 2, probes: 5 }, 'other.yaml');
    const worker = start(job.names.uid, 1, { ONEBYTE_JOB: other });
    await refuses(
      worker,
      1,
      2,
      /^RUN_OTHER_JOB: .*differ in (spec\.method\.estimator, spec\.seed|spec\.seed, spec\.method\.estimator)\nfield: ONEBYTE_JOB\n/,
    );
  });

  it('begins no run whose basis the others could not get', async () => {
    await writeFile(on.lab.path('data/calibration.jsonl'), await readFile(on.lab.path('data/0-train.jsonl')));
    const calibration = { name: 'public', uri: 'data/calibration.jsonl' };
    const scope = { type: 'subspace', rank: 2, basis: { type: 'activation', rows: 16, calibration } };
    await on.lab.job({ scope });
    const connection = await openNats({ servers: on.system.urls });
    const jsm = await jetstreamManager(connection);
    for (const [storeBytes, why] of [
      [0, 'there is no store'],
      [1 << 10, 'the store has no room for basis'],
    ] as const) {
      const names = jobNames(on.lab.freshUid());
      await createStream(connection, names, { maxBytes: MAX_BYTES, storeBytes });
      await refuses(
        start(names.uid, 0),
        0,
        2,
        new RegExp(`^STORE_MISSING: .*: ${why}\nfield: [\\s\\S]*ONEBYTE_STORE`),
      );
      assert.equal((await jsm.streams.info(names.stream)).state.messages, 0);
    }
    await connection.close();
  });

  it('takes part without a job file, with a file of its own data', async () => {
    const job = await begun();
    const source = (split: string) => `${split}: [{name: own, uri: data/2-${split}.jsonl}]`;
    await writeFile(on.lab.path('mine.yaml'), `${source('train')}\n${source('validation')}\n`);
    const worker = start(job.names.uid, 2, { ONEBYTE_JOB: '', ONEBYTE_DATA: on.lab.path('mine.yaml') });
    await worker.answers('/readyz', 200);
  });

  it('says what is wrong with a file of its own data', async () => {
    const job = await begun();
    await writeFile(on.lab.path('mine.yaml'), 'train: [{name: own, url: data/2-train.jsonl}]\n');
    const worker = start(job.names.uid, 2, { ONEBYTE_JOB: '', ONEBYTE_DATA: on.lab.path('mine.yaml') });
    await refuses(worker, 2, 2, /^DATA_INVALID: .*mine\.yaml: train\[0\][\s\S]*\nfield: train\[0\]/);
  });

  it('says which data is missing', async () => {
    const job = await begun();
    await writeFile(on.lab.path('mine.yaml'), 'train: [{name: own, uri: data/nothing.jsonl}]\n');
    const worker = start(job.names.uid, 2, { ONEBYTE_JOB: '', ONEBYTE_DATA: on.lab.path('mine.yaml') });
    await refuses(worker, 2, 2, /^DATA_MISSING: .*nothing\.jsonl/);
  });

  it('refuses a stream of another version', async () => {
    await on.lab.job();
    const names = jobNames(on.lab.freshUid());
    const connection = await openNats({ servers: on.system.urls });
    const { config } = await createStream(connection, names, { maxBytes: MAX_BYTES });
    const jsm = await jetstreamManager(connection);
    await jsm.streams.update(names.stream, { metadata: { ...config.metadata, [METADATA.format]: '9' } });
    await refuses(start(names.uid, 0), 0, 2, /^NATS_STREAM_INVALID: .*format 9[\s\S]*remedy: /);
    await connection.close();
  });

  it('says that its log is full', async () => {
    await on.lab.job({ rounds: ENDLESS });
    const job = await on.make(1 << 15);
    await refuses(start(job.names.uid, 0), 0, 1, /^LOG_FULL: [\s\S]*remedy: /);
  });

  it('ends once its credentials are taken away, whatever it waits for by then', async () => {
    await on.lab.job({ output: { uri: `file://${on.lab.path('out')}`, formats: ['safetensors'] } });
    const users = [
      { user: 'admin', password: 'admin' },
      { user: 'w', password: 'w' },
    ];
    const guarded = await NatsSystem.start({ config: { authorization: { users } } });
    const admin = await openNats({ servers: guarded.urls, user: 'admin', password: 'admin' });
    const [names, absent] = [jobNames(on.lab.freshUid()), on.lab.freshUid()];
    await createStream(admin, names, { maxBytes: MAX_BYTES });
    const env = { ONEBYTE_NATS_USER: 'w', ONEBYTE_NATS_PASSWORD: 'w', ONEBYTE_HEAD_START_SECONDS: '3600' };
    const early = start(absent, 0, env, on.lab, guarded);
    const waiting = start(names.uid, 1, env, on.lab, guarded);
    const exporting = on.lab.exporter(guarded, names.uid, env);
    await early.said(/waiting for the stream/);
    await waiting.said(/looking for the beginning/);
    await exporting.said(/copying the journal/);
    await guarded.reload({ authorization: { users: users.slice(0, 1) } });
    await refuses(early, 0, 2, /^NATS_DENIED: .*credentials/);
    await refuses(waiting, 1, 2, /^NATS_DENIED: .*credentials/);
    assert.equal((await exporting.ended).code, 2);
    assert.match(await on.lab.lastWords('lab-export'), /^NATS_DENIED: .*credentials/);
    await admin.close();
    await guarded.end();
  });

  it('is not let in with wrong credentials, nor with those of another worker', async () => {
    await on.lab.job();
    const names = jobNames(on.lab.freshUid());
    const permissions = workerPermissions({ names }, 'lab-p0-0');
    const users = [
      { user: 'admin', password: 'admin' },
      { user: 'w', password: 'w', permissions },
    ];
    const guarded = await NatsSystem.start({ config: { authorization: { users } } });
    const admin = await openNats({ servers: guarded.urls, user: 'admin', password: 'admin' });
    await createStream(admin, names, { maxBytes: MAX_BYTES });
    const user = (name: string, password: string) => ({
      ONEBYTE_NATS_USER: name,
      ONEBYTE_NATS_PASSWORD: password,
    });
    await refuses(
      start(names.uid, 0, user('w', 'x'), on.lab, guarded),
      0,
      2,
      /^NATS_DENIED: .*credentials[\s\S]*remedy: /,
    );
    await refuses(start(names.uid, 1, user('w', 'w'), on.lab, guarded), 1, 2, /^NATS_DENIED: .*\nremedy: /);
    const right = start(names.uid, 0, user('w', 'w'), on.lab, guarded);
    await right.answers('/readyz', 200);
    await admin.close();
    await right.kill();
    await guarded.end();
  });
});
