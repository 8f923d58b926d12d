import { randomBytes } from 'node:crypto';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { NatsBus } from '../bus/nats.ts';
import type { EngineFacts } from '../engine/engine.ts';
import type { ThreadedEngine } from '../engine/threaded.ts';
import { OnebyteError } from '../errors.ts';
import { emptyLedger, type Ledger } from '../journal/ledger.ts';
import type { GenesisRecord } from '../journal/record.ts';
import { NatsLog } from '../log/nats.ts';
import { MemberMetrics } from '../metrics/member.ts';
import { watchProcess } from '../metrics/process.ts';
import { Metrics } from '../metrics/registry.ts';
import type { ApiOptions } from '../nats/api.ts';
import { closedForGood, openNats } from '../nats/connect.ts';
import { Link, type SocketBytes } from '../nats/link.ts';
import { inboxPrefix, type JobNames, jobNames, memberId } from '../nats/names.ts';
import { waitForStream } from '../nats/stream.ts';
import { MemberDriver, type MemberPorts, type Outcome } from '../round/driver.ts';
import type { Store } from '../store/store.ts';
import { type Assignment, assignmentApart } from './assignment.ts';
import { alive, ready, startedUp, type Vitals } from './health.ts';
import { HealthServer } from './http.ts';
import { keeper } from './join.ts';
import { narrator } from './narrator.ts';
import { landOn, type Opening, openEngine, openStore, patiently } from './opening.ts';
import { Packer, unpack } from './packs.ts';
import { NatsPreparers } from './preparers.ts';
import type { ServiceSettings } from './settings.ts';
import { WatchedEngine } from './watched-engine.ts';

export interface ServiceOptions {
  readonly settings: ServiceSettings;
  readonly logger: Logger;
  /** Of the program, for `onebyte_build_info`. */
  readonly version: string;
  readonly onOpened?: (facts: EngineFacts) => void;
}

/** How a worker's life ended. `stopped`: it was asked to go before it had joined. */
export type ServiceOutcome = Outcome | { readonly type: 'stopped' };

/** Milliseconds. */
const now = () => performance.now();

/** One worker of a run on NATS, from its start to its end. */
export class WorkerService {
  readonly metrics = new Metrics();
  readonly #settings: ServiceSettings;
  readonly #logger: Logger;
  readonly #version: string;
  readonly #onOpened: (facts: EngineFacts) => void;
  readonly #stop = new AbortController();
  #starting: string | null = 'starting';
  #driver: MemberDriver | null = null;
  #engine: WatchedEngine | null = null;
  #link: Link | null = null;
  #server: HealthServer | null = null;

  constructor({ settings, logger, version, onOpened }: ServiceOptions) {
    this.#settings = settings;
    this.#logger = logger;
    this.#version = version;
    this.#onOpened = onOpened ?? (() => {});
  }

  /** Where health and metrics are served; null before that. */
  get port(): number | null {
    return this.#server?.port ?? null;
  }

  /** Bytes on its socket so far. */
  get bytes(): SocketBytes {
    return this.#link?.bytes ?? { sent: 0, received: 0 };
  }

  /** Asks the worker to leave the run; `run` then ends within the time that the settings allow. */
  stop(): void {
    if (this.#stop.signal.aborted) return;
    this.#logger.info('asked to leave');
    this.#stop.abort();
    this.#driver?.leave();
  }

  /** @throws OnebyteError, LogFull: a mistake that another start would meet again, or that only somebody else can mend */
  async run(): Promise<ServiceOutcome> {
    const { settings } = this;
    const unwatch = watchProcess(this.metrics);
    const { signal } = this.#stop;
    const stopped = new Promise<ServiceOutcome>((resolve) => {
      signal.addEventListener('abort', () => this.#driver === null && resolve({ type: 'stopped' }));
    });
    let connection: NatsConnection | null = null;
    try {
      this.#server = await HealthServer.listen(
        {
          checks: {
            '/healthz': () => alive(this.#vitals()),
            '/livez': () => alive(this.#vitals()),
            '/readyz': () => ready(this.#vitals()),
            '/startupz': () => startedUp(this.#vitals()),
          },
          metrics: () => this.metrics.text(),
          metricsType: this.metrics.contentType,
        },
        settings.port,
        settings.host,
      );
      this.#logger.info({ port: this.#server.port }, 'health and metrics are served');
      const assignment = await assignmentApart(settings);
      const life = this.#live(assignment, (opened) => {
        connection = opened;
      });
      return await Promise.race([life, stopped]);
    } finally {
      unwatch();
      const open = connection as NatsConnection | null;
      // What was said last, such as a goodbye, is to reach the server.
      if (open !== null && !open.isClosed()) await open.drain().catch(() => {});
      await this.#server?.close();
    }
  }

  get settings(): ServiceSettings {
    return this.#settings;
  }

  async #live(assignment: Assignment, opened: (connection: NatsConnection) => void): Promise<Outcome> {
    const { nats, worker } = this.#settings;
    const { uid } = jobNames(assignment.uid, nats.prefix);
    this.#phase('connecting to NATS');
    const connection = await openNats(
      { inboxPrefix: inboxPrefix(uid, worker, nats.prefix), ...nats.config, name: worker },
      {
        wait: this.#stop.signal,
        onFailure: (error) => this.#logger.warn({ code: error.code }, error.message),
      },
    );
    opened(connection);
    this.#watchLink(connection);
    // Without it, whatever is waited for would never come.
    return Promise.race([this.#join(assignment, connection), closedForGood(connection)]);
  }

  async #join(assignment: Assignment, connection: NatsConnection): Promise<Outcome> {
    const { nats, worker, group } = this.#settings;
    const names = jobNames(assignment.uid, nats.prefix);
    const api: ApiOptions = nats.domain === undefined ? {} : { domain: nats.domain };
    this.#phase(`waiting for the stream ${names.stream}`);
    await waitForStream(connection, names, this.#stop.signal, api);
    const log = new NatsLog(connection, names, api);
    const id = memberId(worker, randomBytes(4));
    const opening: Opening = {
      settings: this.#settings,
      assignment,
      names,
      log,
      preparers: new NatsPreparers(connection, names, id),
      logger: this.#logger,
      signal: this.#stop.signal,
      phase: (text) => this.#phase(text),
    };
    const store = await openStore(opening, connection, api);
    const { genesis, engine } = await openEngine(opening, store);
    this.#onOpened(engine.facts);
    const landed = store === null ? null : await landOn(opening, store, genesis, engine);
    this.metrics.set('onebyte_snapshot_bytes', landed?.file.bytes ?? 0);
    if (store !== null && landed !== null)
      log.offer(await patiently(opening, () => unpack(store, landed.start)));
    const bus = new NatsBus(connection, names, id, (error) => this.#driver?.abort(error));
    await bus.ready();
    const self = { id, name: worker, group, examples: engine.facts.rows.train };
    const driver = this.#drive(self, {
      log,
      bus,
      engine: this.#watched(engine),
      ...(landed === null ? {} : { start: landed.start }),
      ...(store === null ? {} : this.#keeping(store, landed?.start.ledger ?? emptyLedger())),
    });
    closedForGood(connection).catch((reason) => driver.abort(reason));
    this.#describe(genesis, names);
    return driver.done;
  }

  /** What the member keeps for newcomers. */
  #keeping(store: Store, start: Ledger): Pick<MemberPorts, 'checkpoints' | 'onStep'> {
    const packer = new Packer(store, start, (error) =>
      this.#logger.warn(`no pack was kept: ${String(error)}`),
    );
    return {
      checkpoints: keeper(store, this.#logger, () => this.metrics.add('onebyte_checkpoints_total')),
      onStep: (event, _effects, state) => packer.step(event, state),
    };
  }

  #watched(engine: ThreadedEngine): WatchedEngine {
    const watched = new WatchedEngine(engine, now, (phase, ms) =>
      this.metrics.observe('onebyte_round_phase_seconds', ms / 1000, { phase }),
    );
    this.metrics.onScrape(() => {
      this.metrics.set('onebyte_engine_queue', watched.queue);
      this.metrics.set('onebyte_engine_busy_seconds', watched.busyMs / 1000);
    });
    this.#engine = watched;
    return watched;
  }

  #drive(self: ConstructorParameters<typeof MemberDriver>[0], ports: MemberPorts): MemberDriver {
    const { minWorkers, leaveMs } = this.#settings;
    const counts = new MemberMetrics(this.metrics, now, now() - process.uptime() * 1000);
    const narrate = narrator(this.#logger);
    const driver = new MemberDriver(
      self,
      {
        ...ports,
        onStep: (event, effects, state) => {
          ports.onStep?.(event, effects, state);
          counts.step(event, effects, state);
          narrate(event, effects, state);
        },
      },
      { expected: minWorkers, leaveWithin: leaveMs },
    );
    this.#driver = driver;
    this.#starting = null;
    if (this.#stop.signal.aborted) driver.leave();
    return driver;
  }

  #watchLink(connection: NatsConnection): void {
    const link = Link.of(connection);
    this.#link = link;
    link.onChange((up) =>
      this.#logger.warn({ connected: up }, up ? 'connected again' : 'lost the connection'),
    );
    this.metrics.onScrape(() => {
      const { sent, received } = link.bytes;
      this.metrics.countedTo('onebyte_socket_bytes_total', sent, { direction: 'sent' });
      this.metrics.countedTo('onebyte_socket_bytes_total', received, { direction: 'received' });
      this.metrics.countedTo('onebyte_reconnects_total', link.reconnects);
    });
  }

  #describe({ job }: GenesisRecord, { uid }: JobNames): void {
    const { worker, group } = this.#settings;
    const { name } = JSON.parse(job) as { name: string };
    this.metrics.set('onebyte_worker_info', 1, { run: name, uid, worker, group });
    const { version, platform, arch } = process;
    this.metrics.set('onebyte_build_info', 1, {
      version: this.#version,
      node: version,
      platform: `${platform}-${arch}`,
    });
  }

  #phase(text: string): void {
    this.#starting = text;
    this.#logger.info(text);
  }

  #vitals(): Vitals {
    const state = this.#driver?.state;
    return {
      starting: this.#starting,
      engineBusyMs: this.#engine?.busyMs ?? 0,
      engineBudgetMs: this.#settings.engineMs,
      engineIdleMs: this.#engine?.idleMs ?? Number.POSITIVE_INFINITY,
      connected: this.#link?.up ?? false,
      member: state !== undefined && state.ballot !== null && state.ballot.index >= 0,
      silentMs: state === undefined ? 0 : now() - state.entryAt,
      leaving: this.#stop.signal.aborted,
    };
  }
}

/** What to say of a worker whose own state is not the one that the run ended with; null where all is well. */
export function wrongEnd(outcome: ServiceOutcome): OnebyteError | null {
  if (outcome.type !== 'finished' || outcome.own === null || outcome.own === outcome.record.digest)
    return null;
  return new OnebyteError(
    'REPLICA_DIVERGED',
    `the run ended with the state ${outcome.record.digest}, this worker had ${outcome.own}`,
    { remedy: 'Replay the journal: it says which of the two is right.' },
  );
}
