/** A child process that is one member of a run on NATS: argv[2] is its MemberConfig. Tells its parent what it sees. */
import { randomBytes } from 'node:crypto';
import type { Bus } from '../../worker/bus/bus.ts';
import { IpcBus } from '../../worker/bus/ipc.ts';
import { NatsBus } from '../../worker/bus/nats.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { parentChannel } from '../../worker/log/channel.ts';
import { IpcLog } from '../../worker/log/ipc.ts';
import type { Log } from '../../worker/log/log.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import { type NatsConfig, openNats } from '../../worker/nats/connect.ts';
import { Link, type SocketBytes } from '../../worker/nats/link.ts';
import { jobNames, memberId } from '../../worker/nats/names.ts';
import { waitForStream } from '../../worker/nats/stream.ts';
import type { Replica } from '../../worker/replica/replica.ts';
import { MemberDriver } from '../../worker/round/driver.ts';
import { freshReplica } from '../simulation/job.ts';
import { NullEngine, StatelessEngine } from './null-engine.ts';

export interface MemberConfig {
  /** Null: over the log and the bus that the parent serves on the channel to it. */
  readonly nats: NatsConfig | null;
  readonly domain?: string;
  /** A command that runs the member's, such as one that enters a network namespace. */
  readonly inside?: readonly string[];
  /** A module that is loaded before the member's. */
  readonly preload?: string;
  readonly uid: string;
  readonly worker: string;
  /** Hex of 8 digits, where two lives are to share one. */
  readonly life?: string;
  readonly expected: number;
  readonly stages: number;
  readonly probeMs: number;
  /** Whether it keeps a state; without one, a round is all agreement. */
  readonly stateless?: boolean;
  /** The digest of the state is told every so many records; 0: never. */
  readonly witnessEvery: number;
}

/** What a member tells its parent. */
export type MemberNews =
  | { readonly type: 'moved'; readonly round: number; readonly chain: string; readonly digest: string }
  | { readonly type: 'rewound'; readonly records: number }
  | { readonly type: 'diverged' }
  /** Of a preloaded module: the wall clock is this far off now. */
  | { readonly type: 'jumped'; readonly hours: number }
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  | {
      readonly type: 'done';
      readonly outcome: 'left' | 'finished';
      readonly released: boolean;
      readonly digest: string;
      /** Milliseconds between the records of consecutive rounds, by kind of wait. */
      readonly times: readonly number[];
      /** Milliseconds of them in which this member's own work was done. */
      readonly waits: readonly number[];
      /** Microseconds of processor time since the first record. */
      readonly cpu: number;
      readonly socket: SocketBytes;
      readonly payload: { readonly sent: number; readonly received: number };
    };

const config: MemberConfig = JSON.parse(process.argv[2]!);
const tell = (news: MemberNews) => void (process.connected && process.send!(news));
process.on('disconnect', () => process.exit());

const life = config.life === undefined ? randomBytes(4) : Buffer.from(config.life, 'hex');
const id = memberId(config.worker, life);
const { log, bus, close, socket, payload } = config.nats === null ? viaParent() : await viaNats(config.nats);

let records = 0;
function moved(replica: Replica): void {
  if (replica.records < records) tell({ type: 'rewound', records: replica.records });
  records = replica.records;
  if (config.witnessEvery === 0 || records % config.witnessEvery !== 0) return;
  const chain = Buffer.from(replica.ledger.chain).toString('hex');
  tell({ type: 'moved', round: replica.ledger.round, chain, digest: replica.digest() });
}

const times: number[] = [];
const waits: number[] = [];
let roundAt = 0;
let ownAt = 0;
let cpuAtStart = process.cpuUsage();
const replica = new NullEngine(() => freshReplica(config.stages), config.probeMs, moved);
const engine = config.stateless === true ? new StatelessEngine() : replica;
const driver = new MemberDriver(
  { id, name: config.worker, group: '', examples: 40 },
  {
    log,
    bus,
    engine,
    onStep: (event, effects) => {
      const now = performance.now();
      if (event.type === 'probed') ownAt = now;
      if (event.type === 'entry' && event.record.kind === 'round') {
        if (roundAt > 0) times.push(now - roundAt);
        else cpuAtStart = process.cpuUsage();
        if (ownAt > roundAt) waits.push(now - ownAt);
        roundAt = now;
      }
      if (effects.some(({ type }) => type === 'diverged')) tell({ type: 'diverged' });
    },
  },
  { expected: config.expected, grace: 20_000 },
);
process.on('SIGTERM', () => driver.leave());
process.on('SIGUSR2', () => driver.cancel());
const outcome = await driver.done.catch(fail);
const { user, system } = process.cpuUsage(cpuAtStart);
const done: MemberNews = {
  type: 'done',
  outcome: outcome.type,
  released: outcome.type === 'left' && outcome.released,
  digest: await engine.digest(),
  times,
  waits,
  cpu: user + system,
  socket: socket(),
  payload,
};
// It may be larger than what a channel takes at once: the end of the process must not cut it short.
if (process.connected) await new Promise((resolve) => process.send!(done, resolve));
await close();
process.exit();

interface Plane {
  readonly log: Log;
  readonly bus: Bus;
  readonly socket: () => SocketBytes;
  readonly payload: { readonly sent: number; readonly received: number };
  readonly close: () => Promise<void>;
}

async function viaNats(nats: NatsConfig): Promise<Plane> {
  const names = jobNames(config.uid);
  const api = config.domain === undefined ? {} : { domain: config.domain };
  const forever = new AbortController().signal;
  const connection = await openNats(nats, { wait: forever }).catch(fail);
  await waitForStream(connection, names, forever, api).catch(fail);
  const bus = new NatsBus(connection, names, id, fail);
  await bus.ready();
  return {
    log: new NatsLog(connection, names, api),
    bus,
    socket: () => Link.of(connection).bytes,
    payload: bus.payload,
    close: () => connection.close(),
  };
}

function viaParent(): Plane {
  const none = { sent: 0, received: 0 };
  return {
    log: new IpcLog(parentChannel()),
    bus: new IpcBus(parentChannel(), id),
    socket: () => none,
    payload: none,
    close: async () => {},
  };
}

function fail(error: unknown): never {
  const code = error instanceof OnebyteError ? error.code : (error as Error).name;
  tell({ type: 'failed', code, message: String(error) });
  process.exit(1);
}
