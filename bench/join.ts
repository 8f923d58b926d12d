/**
 * What it costs to join a run that is long under way: seconds and bytes on the socket, from the base model to the state
 * of the log's end, over a real NATS server. The run is a `lora` job on MiniLM with 4 members of 16 probes each, whose
 * probes measured noise; the newcomer does what a worker does (`worker/service`), but for its data.
 *
 *     node bench/join.ts [--round 10000] [--every 1000] [--pool 1024] [--rank 4]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { NatsConnection } from '@nats-io/transport-node';
import { pino } from 'pino';
import { scope } from '../test/engine/fixture.ts';
import { freshUid, TestJob } from '../test/nats/job.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { resolveModel } from '../worker/data/cache.ts';
import { openReplica } from '../worker/engine/open.ts';
import { prepareApart } from '../worker/engine/prepare-apart.ts';
import { SnapshotFolder } from '../worker/engine/snapshots.ts';
import {
  canonicalJson,
  encodeBody,
  follow,
  type GenesisRecord,
  sealRecord,
} from '../worker/journal/index.ts';
import type { JobSpec } from '../worker/journal/job.ts';
import { parseJob } from '../worker/journal/job-text.ts';
import { emptyLedger, type Ledger } from '../worker/journal/ledger.ts';
import type { JournalRecord } from '../worker/journal/record.ts';
import { halfLoss } from '../worker/journal/round.ts';
import { NatsLog } from '../worker/log/nats.ts';
import { encodeAll } from '../worker/method/codec.ts';
import { openModelFolder } from '../worker/model/folder.ts';
import { Link } from '../worker/nats/link.ts';
import { NatsStore } from '../worker/nats/store.ts';
import { checkStream } from '../worker/nats/stream.ts';
import type { Replica } from '../worker/replica/replica.ts';
import { systemClock } from '../worker/round/clock.ts';
import { EngineDesk, type EnginePort } from '../worker/round/engine-port.ts';
import { Follower } from '../worker/round/follower.ts';
import { genesisIn } from '../worker/service/genesis.ts';
import { land } from '../worker/service/join.ts';
import { Packer, unpack } from '../worker/service/packs.ts';
import { sentimentJob } from './lib/sentiment.ts';

const { values } = parseArgs({
  options: {
    round: { type: 'string', default: '10000' },
    every: { type: 'string', default: '1000' },
    pool: { type: 'string', default: '1024' },
    rank: { type: 'string', default: '4' },
  },
});
const [ROUND, EVERY, POOL, RANK] = [values.round, values.every, values.pool, values.rank].map(Number) as [
  number,
  number,
  number,
  number,
];
const [MEMBERS, PROBES] = [4, 16];
const folder = mkdtempSync(join(tmpdir(), 'onebyte-join-'));
const quiet = pino({ level: 'silent' });

function jobOf(seedPool: number): JobSpec {
  const basis = { type: 'activation', rows: 512 } as const;
  const adapters = scope('lora', { rank: RANK, alpha: 2 * RANK, basis });
  return sentimentJob(
    {
      plan: [{ scope: adapters, rounds: 10 * ROUND }],
      estimator: { radius: 1e-2, batch: 16, probes: { min: 1, max: PROBES }, sides: 2 },
      seedPool,
    },
    { evaluation: { everyRounds: 0, examples: 512 }, checkpoint: { everyRounds: EVERY } },
  );
}

/** Standard normal values, the same every time. */
let state = 1;
const uniform = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return (state + 0.5) / 2 ** 32;
};
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
const members = Array.from({ length: MEMBERS }, (_, i) => ({
  id: i.toString(16).padStart(16, '0'),
  name: `w${i}`,
  group: '',
  examples: 1000,
}));

/** Writes a run's log, snapshots and packs as its members would. */
class Writer {
  readonly #replica: Replica;
  readonly #log: NatsLog;
  readonly #store: NatsStore;
  readonly #packer: Packer;
  readonly #snapshots: SnapshotFolder;
  #backlog: { record: JournalRecord; body: Uint8Array }[] = [];
  ledger: Ledger = emptyLedger();
  #last = 0;
  /** Bytes of probes, by round. */
  readonly payload: number[] = [];
  snapshotAt = 0;

  constructor(replica: Replica, log: NatsLog, store: NatsStore, path: string) {
    this.#replica = replica;
    this.#log = log;
    this.#store = store;
    this.#snapshots = new SnapshotFolder(path);
    this.#packer = new Packer(store, this.ledger, (error) => {
      throw error;
    });
  }

  async add(record: JournalRecord): Promise<void> {
    const before = this.ledger;
    const data = sealRecord(before, record);
    const body = encodeBody(record, before);
    this.#last = await this.#log.append(data, { expectedLast: this.#last, id: `${this.#last}` });
    this.#backlog.push({ record, body });
    if (this.#backlog.length >= 1024) this.#flush();
    this.ledger = after(before, data);
    const turn = this.ledger.members[this.ledger.round % Math.max(1, this.ledger.members.length)];
    const at = { ledger: this.ledger, seq: this.#last, target: 0, self: turn ?? members[0]! };
    this.#packer.step({ type: 'entry', seq: this.#last, record, ledger: this.ledger, own: null }, at);
  }

  async round(): Promise<void> {
    const { round } = this.ledger;
    const spread = () =>
      encodeAll(
        'log8',
        Float64Array.from({ length: PROBES }, () => 0.3 * normal()),
      );
    const speaks = round > 0 && round % EVERY === 0;
    if (speaks) this.#flush();
    this.payload[round] = MEMBERS * PROBES;
    await this.add({
      kind: 'round',
      round,
      attempt: 0,
      elapsed: 40 + Math.floor(20 * uniform()),
      loss: halfLoss(0.5 + 0.05 * normal()),
      bytes: this.ledger.members.map(spread),
      joins: this.ledger.members.length === 0 ? members : [],
      leaves: [],
      evaluations: [],
      digest: speaks ? this.#replica.digest() : null,
    });
  }

  async snapshot(): Promise<void> {
    this.#flush();
    const file = this.#snapshots.write(this.#replica.snapshot());
    const { round } = this.ledger;
    const index = { digest: file.digest, bytes: file.bytes, seq: this.#last, round };
    const digest = this.#replica.digest();
    const bytes = this.#snapshots.reader(file)();
    const location = await this.#store.putSnapshot(index, bytes);
    await this.round();
    await this.add({ kind: 'checkpoint', round, digest, location: location! });
    this.snapshotAt = round;
  }

  #flush(): void {
    this.#replica.commitAll(this.#backlog);
    this.#backlog = [];
  }

  digest(): string {
    this.#flush();
    return this.#replica.digest();
  }
}

function after(ledger: Ledger, data: Uint8Array): Ledger {
  const outcome = follow(ledger, { data });
  if ('ignored' in outcome) throw new Error(outcome.ignored);
  return outcome.ledger;
}

const base = jobOf(0);
const modelDir = await resolveModel(base.model, { folder, log: () => {} });
const model = await openModelFolder(modelDir);
const system = await NatsSystem.start();
console.log(
  `join of a lora job (rank ${RANK}) of ${MEMBERS} members x ${PROBES} probes, snapshot every ${EVERY} rounds; per newcomer:`,
);
for (const pool of [0, POOL]) await measure(pool);
await system.end();
rmSync(folder, { recursive: true });

async function measure(pool: number): Promise<void> {
  const spec = jobOf(pool);
  const uid = freshUid();
  const jobText = canonicalJson({ name: 'join', spec });
  const prepared = await prepareApart(modelDir, {
    jobText,
    uid,
    folder,
    artifacts: folder,
    threads: 1,
    log: () => {},
  });
  const { job } = parseJob(jobText);
  const fresh = () => openReplica(model.model, job, null).replica;
  const run = await TestJob.make(system, 1 << 28);
  const genesis: GenesisRecord = { ...prepared.genesis, uid: run.names.uid };
  const connection = await run.connect();
  const writer = new Writer(
    fresh(),
    new NatsLog(connection, run.names),
    new NatsStore(connection, run.names),
    join(folder, `w-${pool}`),
  );
  await writer.add(genesis);
  console.log(
    `${pool === 0 ? 'no pool of seeds' : `a pool of ${pool} seeds`}, ${prepared.trained[0]} weights are trained`,
  );
  console.log(
    '    at round  tail  from        seconds  bytes on the socket  less the snapshot, of the payload of the tail',
  );
  const late = ROUND - EVERY;
  const stops = [late + EVERY / 10 + 7, late + EVERY / 2, ROUND - 1, ROUND];
  while (writer.ledger.round < ROUND) {
    const { round } = writer.ledger;
    if (round > 0 && round % EVERY === 0 && writer.snapshotAt < round) await writer.snapshot();
    else await writer.round();
    if (stops.includes(writer.ledger.round)) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await newcomer(run, fresh(), writer, true);
    }
  }
  await newcomer(run, fresh(), writer, false);
  await run.close();
}

/** What a worker does before it asks to be let in. @param snapshots whether it looks for one */
async function newcomer(run: TestJob, replica: Replica, writer: Writer, snapshots: boolean): Promise<void> {
  const expected = writer.digest();
  const { round } = writer.ledger;
  const connection: NatsConnection = await run.connect();
  const own = mkdtempSync(join(folder, 'own-'));
  const parts: string[] = [];
  let counted = 0;
  const part = (what: string) => {
    const { received } = Link.of(connection).bytes;
    parts.push(`${what} ${received - counted}`);
    counted = received;
  };
  part('greeting');
  const began = performance.now();
  await checkStream(connection, run.names);
  part('stream');
  const log = new NatsLog(connection, run.names);
  const { genesis } = await genesisIn(log);
  part('genesis');
  const files = new SnapshotFolder(own);
  const engine: EnginePort & Parameters<typeof land>[1] = {
    commit: async (record, body) => void replica.commit(record, body),
    commitAll: async (entries) => void replica.commitAll(entries),
    rewind: async (records) => replica.rewind(records),
    rebuild: async () => replica.restart(),
    digest: async () => replica.digest(),
    probe: async () => null,
    evaluate: async () => null,
    begin: async (file, of) => {
      replica.begin(files.reader(file), of);
      return replica.digest();
    },
  };
  const store = snapshots ? await NatsStore.find(connection, run.names) : null;
  const landed =
    store === null ? null : await land({ log, store, genesis: genesis!, folder: own, logger: quiet }, engine);
  part('snapshot');
  if (store !== null && landed !== null) log.offer(await unpack(store, landed.start));
  part('packs');
  const target = (await log.last())!.seq;
  const desk = new EngineDesk(engine);
  const end = new AbortController();
  for await (const step of new Follower(log, systemClock, landed?.start).steps(end.signal)) {
    if (step.type !== 'record') throw new Error(`a step of type ${step.type}`);
    await desk.commitLater(step);
    if (step.seq >= target) break;
  }
  await desk.flush();
  const seconds = (performance.now() - began) / 1000;
  part('entries');
  const { received } = Link.of(connection).bytes;
  if (replica.digest() !== expected) throw new Error('the newcomer has another state');
  const from = landed === null ? 0 : landed.start.ledger.round;
  const payload = writer.payload.slice(from, round).reduce((sum, bytes) => sum + bytes, 0);
  const rest = received - (landed?.file.bytes ?? 0);
  console.log(
    `    ${String(round).padStart(8)}${String(round - from).padStart(6)}  ${(landed === null ? 'base model' : `round ${from}`).padEnd(11)}` +
      `${seconds.toFixed(2).padStart(8)}  ${String(received).padStart(12)} B  ${String(rest).padStart(12)} B  ${(rest / payload).toFixed(2).padStart(5)}` +
      (landed === null ? '' : `  (snapshot ${landed.file.bytes} B)`),
  );
  console.log(`              ${parts.join(', ')} B`);
  await connection.close();
}
