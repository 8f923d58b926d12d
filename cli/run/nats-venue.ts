import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { cacheFolder } from '../../worker/data/cache.ts';
import type { Prepared } from '../../worker/engine/prepare.ts';
import { errorOf } from '../../worker/engine/protocol.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { makeFolder } from '../../worker/folder.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { follow } from '../../worker/journal/follow.ts';
import { parseJob } from '../../worker/journal/job-text.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import type { Log } from '../../worker/log/log.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import type { ApiOptions } from '../../worker/nats/api.ts';
import { logBudget } from '../../worker/nats/budget.ts';
import { NATS_VARIABLES, natsSettings } from '../../worker/nats/config.ts';
import { openNats } from '../../worker/nats/connect.ts';
import type { SocketBytes } from '../../worker/nats/link.ts';
import { type JobNames, jobNames } from '../../worker/nats/names.ts';
import { NatsStore } from '../../worker/nats/store.ts';
import { createStream } from '../../worker/nats/stream.ts';
import { thinProcess } from '../../worker/process-settings.ts';
import { programUrl } from '../../worker/programs.ts';
import { publishArtifacts } from '../../worker/service/join.ts';
import { isToParent } from '../../worker/service/parent.ts';
import { SERVICE_VARIABLES } from '../../worker/service/settings.ts';
import { unwritable } from '../../worker/system-error.ts';
import { writeWhole } from '../../worker/whole-file.ts';
import { type NatsPlace, placeOf } from '../status.ts';
import { Children, type ChildrenEvents, type Launcher, type Said } from './children.ts';
import type { CrewMember } from './crew.ts';
import { type RunDirectory, runDirectory } from './directory.ts';
import { shareOf } from './embedded-venue.ts';
import type { Assignment, Hired, Venue } from './venue.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface NatsVenueOptions {
  /** The directory asked for; by default `runs/NAME`, or the next one that is free. */
  readonly out: string | undefined;
  readonly url: string;
  /** With credentials, as for a worker. */
  readonly env: Environment;
}

/** A run over NATS: the log on a server, every worker a program of its own that knows no other. */
export class NatsVenue implements Venue {
  readonly directory: RunDirectory;
  readonly uid: string;
  readonly log: Log;
  readonly ledger: Ledger;
  readonly notices: readonly string[];
  readonly #connection: NatsConnection;
  readonly #env: Environment;
  readonly #names: JobNames;
  readonly #api: ApiOptions;

  private constructor(
    directory: RunDirectory,
    names: JobNames,
    log: Log,
    ledger: Ledger,
    connection: NatsConnection,
    api: ApiOptions,
    env: Environment,
  ) {
    this.directory = directory;
    this.uid = names.uid;
    this.log = log;
    this.ledger = ledger;
    this.notices = [];
    this.#connection = connection;
    this.#env = env;
    this.#names = names;
    this.#api = api;
  }

  /** @throws OnebyteError RUN_FINISHED, RUN_OTHER_JOB, FILE_UNWRITABLE, and what connecting and making a stream throw */
  static async open({ job, jobText }: Assignment, { out, url, env }: NatsVenueOptions): Promise<NatsVenue> {
    const given = { ...env, [NATS_VARIABLES.url]: url };
    const settings = natsSettings(given);
    const directory = runDirectory(out ?? freeDirectory(job.metadata.name));
    if (existsSync(directory.result) || existsSync(directory.log))
      throw new OnebyteError(
        'RUN_FINISHED',
        `${directory.path} holds a run that has ended or is none over NATS`,
        {
          field: '--out',
          remedy: 'choose another directory with --out, or remove this one',
        },
      );
    const known = placeOf(directory.path);
    const place: NatsPlace = known ?? { uid: randomUUID(), prefix: settings.prefix };
    const names = jobNames(place.uid, place.prefix);
    const api: ApiOptions = settings.domain === undefined ? {} : { domain: settings.domain };
    const connection = await openNats({ ...settings.config, name: 'onebyte run' });
    try {
      const maxBytes = logBudget(parseJob(jobText).job, job.spec.max);
      const replicas = job.spec.nats?.replicas ?? 1;
      await createStream(connection, names, { ...api, maxBytes, replicas });
      const log = new NatsLog(connection, names, api);
      const ledger = await ledgerOf(log);
      if (ledger.genesis !== null && ledger.genesis.job !== jobText)
        throw new OnebyteError('RUN_OTHER_JOB', `${directory.path} holds an unfinished run of another job`, {
          field: '--out',
          remedy: 'choose another directory with --out, or remove this one',
        });
      if (known === null) await keep(directory, place);
      return new NatsVenue(directory, names, log, ledger, connection, api, {
        ...given,
        [NATS_VARIABLES.prefix]: place.prefix,
      });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  async begin(genesis: GenesisRecord): Promise<void> {
    const last = (await this.log.last())?.seq ?? 0;
    const entry = sealRecord(emptyLedger(), genesis);
    const store = await NatsStore.find(this.#connection, this.#names, this.#api);
    // Workers elsewhere find them there.
    if (store !== null) await publishArtifacts(genesis, this.directory.artifacts, store);
    await this.log.append(entry, { expectedLast: last, id: `genesis-${genesis.uid}` });
  }

  hire(
    { job, folder, crew }: Assignment,
    _prepared: Prepared,
    _ledger: Ledger,
    events: ChildrenEvents,
  ): Hired {
    const jobFile = join(this.directory.path, 'job.json');
    const file = { ...job, metadata: { ...job.metadata, uid: this.uid } };
    writeFileSync(jobFile, `${JSON.stringify(file, null, 2)}\n`);
    const children = new Children(
      new ServiceLauncher(this.#environment(jobFile, folder, crew.length), this.directory),
      events,
    );
    for (const member of crew) children.start(member);
    return children;
  }

  async close(): Promise<void> {
    await this.log.close();
    await this.#connection.close();
  }

  #environment(jobFile: string, folder: string, workers: number): Environment {
    const { threads, memoryBudgetBytes } = shareOf(workers);
    return {
      ...this.#env,
      [SERVICE_VARIABLES.job]: jobFile,
      [SERVICE_VARIABLES.uid]: this.uid,
      [SERVICE_VARIABLES.folder]: folder,
      [SERVICE_VARIABLES.minWorkers]: `${workers}`,
      [SERVICE_VARIABLES.port]: '0',
      [SERVICE_VARIABLES.host]: '127.0.0.1',
      [SERVICE_VARIABLES.threads]: `${threads}`,
      [SERVICE_VARIABLES.cacheBytes]: `${memoryBudgetBytes}`,
    };
  }
}

async function ledgerOf(log: Log): Promise<Ledger> {
  let ledger = emptyLedger();
  for await (const entry of log.read(1)) {
    const outcome = follow(ledger, entry);
    if (!('ignored' in outcome)) ledger = outcome.ledger;
  }
  return ledger;
}

/** `runs/NAME`, or the first of `runs/NAME-2`, ... that holds no finished run and none of another kind. */
function freeDirectory(name: string): string {
  for (let number = 1; ; number++) {
    const path = join('runs', number === 1 ? name : `${name}-${number}`);
    const { result, log } = runDirectory(path);
    if (!existsSync(result) && !existsSync(log)) return path;
  }
}

async function keep({ path, nats }: RunDirectory, place: NatsPlace): Promise<void> {
  await makeFolder(path).catch((cause: unknown) => {
    throw unwritable(path, cause);
  });
  await writeWhole(nats, `${JSON.stringify(place, null, 2)}\n`);
}

/** Starts `onebyte worker`. */
class ServiceLauncher implements Launcher<CrewMember> {
  readonly polite = true;
  readonly #env: Environment;
  readonly #logs: string;
  /** By process. */
  readonly #bytes = new Map<ChildProcess, SocketBytes>();

  constructor(env: Environment, { path }: RunDirectory) {
    this.#env = env;
    this.#logs = join(path, 'workers');
    mkdirSync(this.#logs, { recursive: true });
  }

  /** Bytes on the sockets of all workers. */
  get wireBytes(): number {
    return [...this.#bytes.values()].reduce((sum, { sent, received }) => sum + sent + received, 0);
  }

  launch({ name, group }: CrewMember, _heir: boolean, said: Said): ChildProcess {
    const output = openSync(join(this.#logs, `${name}.log`), 'a');
    const { env, execArgv } = thinProcess(this.#env, cacheFolder());
    const child = fork(programUrl('main'), ['worker'], {
      execArgv,
      env: {
        ...env,
        [SERVICE_VARIABLES.worker]: name,
        [SERVICE_VARIABLES.group]: group,
        [SERVICE_VARIABLES.terminationLog]: join(this.#logs, `${name}.end`),
      },
      serialization: 'advanced',
      stdio: ['ignore', output, output, 'ipc'],
    });
    closeSync(output);
    child.on('message', (message) => {
      if (!isToParent(message)) return;
      if (message.type === 'opened') said.onOpened(message.facts.rows, message.facts.truncated);
      else if (message.type === 'bytes') this.#bytes.set(child, message.bytes);
      else if (message.type === 'done') said.onDone();
      else said.onFailed(errorOf(message.failure));
    });
    return child;
  }
}
