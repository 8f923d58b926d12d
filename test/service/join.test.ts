import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { NatsStore } from '../../worker/nats/store.ts';
import { decodeReplica, encodeReplica } from '../../worker/replica/snapshot.ts';
import { genesisIn } from '../../worker/service/genesis.ts';
import { type SnapshotIndex, sha256 } from '../../worker/store/store.ts';
import { TestJob } from '../nats/job.ts';
import { NatsSystem } from '../nats/server.ts';
import { cutStore } from '../nats/store.ts';
import { missing } from '../tools/tool.ts';
import { Lab, type LabJob, type WorkerProcess } from './lab.ts';

const skip = await missing('nats-server');
const MAX_BYTES = 1 << 24;
const ENDLESS = 1_000_000;

describe('joining a run that is under way', { skip }, () => {
  let system: NatsSystem;
  let lab: Lab;
  let running: WorkerProcess[] = [];
  const jobs = new Set<TestJob>();
  before(async () => {
    [system, lab] = await Promise.all([NatsSystem.start(), Lab.make()]);
  });
  afterEach(async () => {
    await Promise.all(running.map((worker) => worker.kill()));
    running = [];
    await Promise.all([...jobs].map((job) => job.close()));
    jobs.clear();
  });
  after(async () => {
    await system.end();
    await lab.remove();
  });

  const start = (job: TestJob, party: number, env: Record<string, string> = {}): WorkerProcess => {
    const worker = lab.worker(system, job.names.uid, party, env);
    running.push(worker);
    return worker;
  };

  /** A run whose first worker has come to this round. */
  async function underWay(round: number, changes: LabJob = {}) {
    await lab.job({ rounds: ENDLESS, ...changes });
    const job = await TestJob.make(system, MAX_BYTES);
    jobs.add(job);
    const first = start(job, 0);
    while (!first.lines.some(({ msg, round: at }) => msg === 'round' && Number(at) >= round))
      await new Promise((resolve) => setTimeout(resolve, 50));
    const store = await NatsStore.find(await job.connect(), job.names);
    return { job, first, store: store! };
  }

  const metric = async (worker: WorkerProcess, name: string): Promise<number> => {
    const { text } = await worker.get('/metrics');
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  };

  for (const [what, changes] of [
    ['factors', {}],
    ['factors with momentum', { method: { rule: { momentum: 0.9 } } }],
    ['factors with a pool of seeds', { method: { seedPool: 16 } }],
    ['full weights', { scope: { type: 'full' } }],
    [
      'a subspace with merges',
      { scope: { type: 'subspace', rank: 2, epochs: 400, basis: { type: 'random' } }, rounds: 20_000 },
    ],
  ] as const)
    it(`begins at a snapshot and agrees with the others on every state after it: ${what}`, async () => {
      const { job } = await underWay(100, changes);
      const second = start(job, 1);
      const began = await second.said(/began from a snapshot/);
      assert.ok(Number(began.round) >= 50);
      await second.answers('/readyz', 200);
      while ((await metric(second, 'onebyte_round')) < Number(began.round) + 60);
      assert.equal(await metric(second, 'onebyte_divergences_total'), 0);
      assert.equal(await metric(second, 'onebyte_disputes_total'), 0);
      assert.equal(await metric(second, 'onebyte_snapshot_bytes'), Number(began.bytes));
    });

  it('fetches no snapshot that it has, and begins at the base model where there is none', async () => {
    const { job } = await underWay(100, { checkpoint: 100 });
    const second = start(job, 1);
    await second.said(/began from a snapshot/);
    await second.kill();
    const again = start(job, 1);
    await again.said(/began from a snapshot/);
    await again.kill();
    const none = await underWay(100, { checkpoint: 0 });
    const other = start(none.job, 1);
    await other.answers('/readyz', 200);
    assert.equal(await metric(other, 'onebyte_snapshot_bytes'), 0);
  });

  it('passes over snapshots that are damaged, of another run, or of a state that the others do not share', async () => {
    const { job, first, store } = await underWay(100, { checkpoint: 50 });
    first.signal('SIGSTOP');
    const { genesis } = await genesisIn(await job.log());
    const [newest] = (await store.snapshots()) as [SnapshotIndex, ...SnapshotIndex[]];
    const bytes = (await store.getSnapshot(newest))!;
    const right = decodeReplica(bytes, genesis!);
    const state = right.state.slice();
    // One quantum more in the last weight; a multiple of the quantum still.
    const last = new Float32Array(state.buffer, state.length - 4, 1);
    last[0]! +=
      2 **
      new DataView(state.buffer).getInt32(8 + 4 * (new DataView(state.buffer).getUint32(4, true) - 1), true);
    const wrong = encodeReplica({ ...right, state });
    const foreign = encodeReplica({ ...right, ledger: { ...right.ledger, loss: right.ledger.loss + 1 } });
    const index = (data: Uint8Array, seq: number) => ({
      ...newest,
      digest: sha256(data),
      bytes: data.length,
      seq,
    });
    await store.putSnapshot(index(wrong, newest.seq), wrong);
    await store.putSnapshot({ ...index(foreign, newest.seq), seq: newest.seq }, foreign);
    const offered = await store.snapshots();
    assert.equal(offered.length, 2);
    const connection = await job.connect();
    const second = start(job, 1);
    setInterval(() => console.log(second.lines.map((l) => l.msg)), 3000).unref();
    const why = [];
    for (let n = 0; n < 2; n++)
      why.push(
        (await second.said(n === 0 ? /passed a snapshot over/ : /passed a snapshot over: the others/)).msg,
      );
    assert.match(why.join('\n'), /the others have another state/);
    await second.answers('/startupz', 200);
    assert.equal(await metric(second, 'onebyte_snapshot_bytes'), 0);
    await connection.close();
  });

  it('begins anew when its log is cut behind the snapshot that it began from', async () => {
    const { job, first } = await underWay(150, { checkpoint: 50 });
    const second = start(job, 1);
    await second.said(/began from a snapshot/);
    await second.answers('/readyz', 200);
    const entries = await metric(second, 'onebyte_log_sequence');
    await system.kill();
    await cutStore(system, job.names.stream, Math.max(1, entries - 20));
    await system.start();
    for (const worker of [first, second]) await worker.answers('/readyz', 200);
    assert.equal(await metric(second, 'onebyte_divergences_total'), 0);
    assert.equal(await metric(first, 'onebyte_divergences_total'), 0);
  });

  it('keeps snapshots and artifacts in a folder that the workers share, where they are told to', async () => {
    const env = { ONEBYTE_STORE: lab.path('shared') };
    await lab.job({ rounds: ENDLESS, checkpoint: 20 });
    const job = await TestJob.make(system, MAX_BYTES);
    jobs.add(job);
    const first = start(job, 0, env);
    await first.said(/^round$/);
    const second = start(job, 1, env);
    await second.said(/began from a snapshot/);
    const [uid] = await readdir(lab.path('shared'));
    const kept = await readdir(join(lab.path('shared'), uid!, 'snapshots'));
    assert.ok(kept.length >= 2 && kept.length <= 8, kept.join());
  });

  it('finds the basis of the run though it cannot read the text that it was made of', async () => {
    const scope = {
      type: 'subspace',
      rank: 2,
      basis: { type: 'activation', rows: 16, calibration: { name: 'public', uri: 'data/calibration.jsonl' } },
    };
    const rows = await readFile(lab.path('data/0-train.jsonl'));
    const { writeFile } = await import('node:fs/promises');
    await writeFile(lab.path('data/calibration.jsonl'), rows);
    const { job } = await underWay(20, { scope, rounds: ENDLESS });
    await rm(lab.path('data/calibration.jsonl'));
    const second = start(job, 1);
    await second.answers('/readyz', 200);
    assert.equal(await metric(second, 'onebyte_divergences_total'), 0);
  });
});
