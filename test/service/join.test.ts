import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import { NatsStore } from '../../worker/nats/store.ts';
import { decodeReplica, encodeReplica } from '../../worker/replica/snapshot.ts';
import { genesisIn } from '../../worker/service/genesis.ts';
import { findLanding } from '../../worker/service/join.ts';
import { FolderStore } from '../../worker/store/folder.ts';
import { type SnapshotIndex, sha256 } from '../../worker/store/store.ts';
import type { TestJob } from '../nats/job.ts';
import { cutStore } from '../nats/store.ts';
import { missing } from '../tools/tool.ts';
import { ground } from './ground.ts';
import type { LabJob, WorkerProcess } from './lab.ts';

const skip = await missing('nats-server');
const ENDLESS = 1_000_000;
/** Entries after which a snapshot's own and the round after it are in the log for sure. */
const CONFIRMED = 3;

describe('joining a run that is under way', { skip }, () => {
  const on = ground();
  const start = (job: TestJob, party: number, env: Record<string, string> = {}) =>
    on.start(job.names.uid, party, env);

  interface UnderWay {
    readonly job: TestJob;
    readonly first: WorkerProcess;
    readonly store: NatsStore;
    readonly newest: SnapshotIndex;
  }

  /** A run whose first worker holds still after it kept a snapshot of this round or a later one. */
  async function underWay(round: number, changes: LabJob = {}): Promise<UnderWay> {
    await on.lab.job({ rounds: ENDLESS, ...changes });
    const job = await on.make();
    const first = start(job, 0);
    const store = (await NatsStore.find(await job.connect(), job.names))!;
    const log = await job.log();
    /** The newest snapshot, once the log has the record after it, which carries the digest of that state. */
    const confirmed = async (): Promise<SnapshotIndex | null> => {
      const [newest] = await store.snapshots();
      const seq = (await log.last())?.seq ?? 0;
      return newest !== undefined && newest.round >= round && seq >= newest.seq + CONFIRMED ? newest : null;
    };
    for (;;) {
      await alive(first);
      if ((await confirmed()) === null) continue;
      first.signal('SIGSTOP');
      // What it said last is still on its way.
      await sleep(50);
      const newest = await confirmed();
      if (newest !== null) return { job, first, store, newest };
      first.signal('SIGCONT');
    }
  }

  /** Fails where a worker has ended that something is awaited of. */
  async function alive(worker: WorkerProcess): Promise<void> {
    const end = await Promise.race([worker.ended, sleep(20)]);
    if (end !== undefined) assert.fail(`ended with ${JSON.stringify(end)}: ${worker.stderr}`);
  }

  const metric = async (worker: WorkerProcess, name: string): Promise<number> => {
    const { text } = await worker.get('/metrics');
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  };

  for (const [what, changes] of [
    [
      'a subspace with merges',
      { scope: { type: 'subspace', rank: 2, epochs: 16, basis: { type: 'random' } } },
    ],
    ['a pool of seeds', { method: { seedPool: 16 } }],
    ['full weights with momentum', { scope: { type: 'full' }, method: { rule: { momentum: 0.9 } } }],
  ] as const)
    it(`begins at a snapshot and ends with the digest of all: ${what}`, async () => {
      const { job, first, newest } = await underWay(40, { ...changes, rounds: 128 });
      const second = start(job, 1);
      const began = await second.said(/began from a snapshot/);
      assert.deepEqual([began.round, began.bytes, began.fetched], [newest.round, newest.bytes, true]);
      first.signal('SIGCONT');
      await second.said(/^joined$/);
      for (const worker of [first, second]) assert.equal((await worker.ended).code, 0, worker.stderr);
      const [digest, other] = [first, second].map(
        ({ lines }) => lines.find(({ msg }) => /has ended/.test(msg))!.digest,
      );
      assert.equal(digest, other);
      assert.ok(!second.lines.some(({ msg }) => /is not the one/.test(msg)));
    });

  it('fetches no snapshot that it has, and begins at the base model where the run keeps none', async () => {
    const { job } = await underWay(100);
    const second = start(job, 1);
    assert.equal((await second.said(/began from a snapshot/)).fetched, true);
    await second.kill();
    const again = start(job, 1);
    assert.equal((await again.said(/began from a snapshot/)).fetched, false);
    await again.kill();
    await on.lab.job({ rounds: ENDLESS, checkpoint: 0 });
    const none = await on.make();
    const other = start(none, 1);
    await other.answers('/readyz', 200);
    assert.equal(await metric(other, 'onebyte_snapshot_bytes'), 0);
  });

  it('passes over snapshots that are damaged or of another log, and takes none whose state the others do not share', async () => {
    const { job, first, store, newest } = await underWay(100);
    const log = await job.log();
    const { genesis } = await genesisIn(log);
    const bytes = (await store.getSnapshot(newest))!;
    const right = decodeReplica(bytes, genesis!);
    const indexOf = (data: Uint8Array, seq: number): SnapshotIndex => ({
      ...newest,
      digest: sha256(data),
      bytes: data.length,
      seq,
    });
    const kept = [];
    const { ledger } = right;
    for (const [what, data] of [
      ['cut off', bytes.subarray(0, bytes.length - 1)],
      ['noise', Uint8Array.from({ length: 300 }, (_, i) => (i * 31) & 255)],
      ['another loss', encodeReplica({ ...right, ledger: { ...ledger, loss: ledger.loss + 1 } })],
      ['another chain', encodeReplica({ ...right, ledger: { ...ledger, chain: new Uint8Array(32) } })],
    ] as const) {
      const folder = await mkdtemp(on.lab.path('offered-'));
      const shared = new FolderStore(folder, 'run');
      await shared.putSnapshot(newest, bytes);
      await shared.putSnapshot(indexOf(data, newest.seq + 1), data);
      const { logger, said } = listening();
      const landing = await findLanding({
        log,
        store: shared,
        genesis: genesis!,
        folder: join(folder, 'own'),
        logger,
      });
      assert.equal(said.length, 1, what);
      assert.match(said[0]!, /passed a snapshot over: (the snapshot cannot be used|it is not of this log)/);
      kept.push(landing?.file.digest);
    }
    assert.deepEqual(new Set(kept), new Set([newest.digest]));

    // One quantum more in the last weight: whole quanta still, and all that can be seen without a state is right.
    const state = right.state.slice();
    const view = new DataView(state.buffer);
    const exponent = view.getInt32(8 + 4 * (view.getUint32(4, true) - 1), true);
    view.setFloat32(state.length - 4, view.getFloat32(state.length - 4, true) + 2 ** exponent, true);
    const wrong = encodeReplica({ ...right, state });
    const connection = await job.connect();
    for (const place of [0, 1])
      await connection.request(`${job.names.store}.snapshot.${place}.index`, 'none is left');
    await store.putSnapshot(indexOf(wrong, newest.seq), wrong);
    await store.putSnapshot(indexOf(state, newest.seq + 1), state);
    const second = start(job, 1);
    await second.said(/passed a snapshot over: the others have another state/);
    await second.answers('/startupz', 200);
    assert.equal(await metric(second, 'onebyte_snapshot_bytes'), 0);
    first.signal('SIGCONT');
    await second.answers('/readyz', 200);
    assert.equal(await metric(second, 'onebyte_divergences_total'), 0);
  });

  it('begins anew when its log is cut behind the snapshot that it began from', async () => {
    const { job, first } = await underWay(100);
    const second = start(job, 1);
    await second.said(/began from a snapshot/);
    first.signal('SIGCONT');
    await second.answers('/readyz', 200);
    await on.system.kill();
    const stopped = await metric(second, 'onebyte_log_sequence');
    await cutStore(on.system, job.names.stream, stopped - 20);
    await on.system.start();
    await second.said(/the log lost what this worker began from/);
    await first.said(/the log lost its tail/);
    const joins = () => second.lines.filter(({ msg }) => msg === 'joined').length;
    while (joins() < 2) await alive(second);
    for (const worker of [first, second]) {
      await worker.answers('/readyz', 200);
      assert.equal(await metric(worker, 'onebyte_divergences_total'), 0);
      assert.equal(await metric(worker, 'onebyte_rewinds_total'), 1);
    }
  });

  it('keeps snapshots in a folder that the workers share, where they are told to', async () => {
    const env = { ONEBYTE_STORE: on.lab.path('shared') };
    await on.lab.job({ rounds: ENDLESS, checkpoint: 20 });
    const job = await on.make();
    await start(job, 0, env).said(/^round$/);
    await start(job, 1, env).said(/began from a snapshot/);
    const [uid] = await readdir(on.lab.path('shared'));
    const kept = await readdir(join(on.lab.path('shared'), uid!, 'snapshots'));
    assert.ok(kept.length >= 2 && kept.length <= 8, kept.join());
  });

  it('finds the basis of the run though it cannot read the text that it was made of', async () => {
    await writeFile(on.lab.path('data/calibration.jsonl'), await readFile(on.lab.path('data/0-train.jsonl')));
    const calibration = { name: 'public', uri: 'data/calibration.jsonl' };
    const { job, first } = await underWay(20, {
      scope: { type: 'subspace', rank: 2, basis: { type: 'activation', rows: 16, calibration } },
    });
    await rm(on.lab.path('data/calibration.jsonl'));
    const second = start(job, 1);
    await second.said(/began from a snapshot/);
    first.signal('SIGCONT');
    await second.answers('/readyz', 200);
    assert.equal(await metric(second, 'onebyte_divergences_total'), 0);
  });
});

/** A logger whose warnings are kept. */
function listening(): { logger: Logger; said: string[] } {
  const said: string[] = [];
  const write = (line: string) => void said.push((JSON.parse(line) as { msg: string }).msg);
  return { logger: pino({ level: 'warn' }, { write }), said };
}
