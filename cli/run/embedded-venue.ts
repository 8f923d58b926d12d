import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { sourcesFor } from '../../crds/job-spec.ts';
import { BusHub } from '../../worker/bus/ipc.ts';
import { cacheFolder } from '../../worker/data/cache.ts';
import type { Prepared } from '../../worker/engine/prepare.ts';
import { errorOf } from '../../worker/engine/protocol.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { emptyLedger, type Ledger, type Member } from '../../worker/journal/ledger.ts';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import { type FromWorker, isControl, type LocalWorker, type ToWorker } from '../../worker/local.ts';
import { childChannel, type Traffic } from '../../worker/log/channel.ts';
import type { EmbeddedLog } from '../../worker/log/embedded.ts';
import { serveLog } from '../../worker/log/ipc.ts';
import { thinProcess, usableMemory } from '../../worker/process-settings.ts';
import { programUrl } from '../../worker/programs.ts';
import { Children, type ChildrenEvents, type Launcher, type Said } from './children.ts';
import type { CrewMember } from './crew.ts';
import { type OpenedRun, openRun, type RunDirectory } from './directory.ts';
import type { Assignment, Hired, Venue } from './venue.ts';

/** A run on this machine: the log in this process, every worker in one of its own that reaches it through this one. */
export class EmbeddedVenue implements Venue {
  readonly directory: RunDirectory;
  readonly uid = undefined;
  readonly log: EmbeddedLog;
  readonly ledger: Ledger;
  readonly notices: readonly string[];

  private constructor({ directory, log, ledger }: OpenedRun) {
    this.directory = directory;
    this.log = log;
    this.ledger = ledger;
    this.notices = log.torn > 0 ? [`cut ${log.torn} bytes of an unfinished write off the log`] : [];
  }

  /** @throws OnebyteError what `openRun` throws */
  static async open(name: string, jobText: string, out: string | undefined): Promise<EmbeddedVenue> {
    return new EmbeddedVenue(await openRun(name, jobText, out));
  }

  async begin(genesis: GenesisRecord): Promise<void> {
    const before = this.ledger.records === 0 ? emptyLedger() : this.ledger;
    await this.log.append(sealRecord(before, genesis), { expectedLast: this.log.length, id: genesis.uid });
  }

  hire(assignment: Assignment, prepared: Prepared, ledger: Ledger, events: ChildrenEvents): Hired {
    const children = new Children(new LocalLauncher(this.log), events);
    for (const member of assignment.crew) {
      const worker = this.#worker(member, assignment, prepared, ledger.members);
      children.start(worker, worker.heir);
    }
    return children;
  }

  close(): Promise<void> {
    return this.log.close();
  }

  /** @param members those that the log says are in, whose processes are gone: their seats are taken over */
  #worker(
    { name, group }: CrewMember,
    { job, crew, folder }: Assignment,
    { genesis, modelDir }: Prepared,
    members: readonly Member[],
  ): LocalWorker {
    const before = members.find((member) => member.name === name && member.group === group);
    const engine = {
      genesis,
      member: name,
      modelDir,
      artifacts: [this.directory.artifacts, join(cacheFolder(), 'artifacts')],
      data: sourcesFor(job.spec, group),
      folder,
      ...shareOf(crew.length),
    };
    const id = before?.id ?? randomBytes(8).toString('hex');
    return { id, heir: before !== undefined, name, group, engine, expected: crew.length };
  }
}

/** What each of so many workers on this machine may take: a quarter of its memory for all their caches together. */
export function shareOf(workers: number): { readonly threads: number; readonly memoryBudgetBytes: number } {
  return {
    threads: Math.max(1, Math.floor(availableParallelism() / workers)),
    memoryBudgetBytes: Math.floor(usableMemory() / 4 / workers),
  };
}

class LocalLauncher implements Launcher<LocalWorker> {
  /** Their seats wait for whoever goes on with the run. */
  readonly polite = false;
  readonly #log: EmbeddedLog;
  readonly #hub = new BusHub();
  readonly #traffic: { readonly traffic: Traffic }[] = [];

  constructor(log: EmbeddedLog) {
    this.#log = log;
  }

  /** Bytes that went through the channels, each message once for each channel. */
  get wireBytes(): number {
    return this.#traffic.reduce((sum, { traffic }) => sum + traffic.sent.bytes + traffic.received.bytes, 0);
  }

  launch(worker: LocalWorker, heir: boolean, said: Said): ChildProcess {
    const child = fork(programUrl('local-worker'), [], {
      ...thinProcess(process.env, cacheFolder()),
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const channel = childChannel(child);
    const service = serveLog(this.#log, channel);
    this.#traffic.push(service, this.#hub.attach(channel));
    channel.onMessage((message) => {
      if (!isControl(message)) return;
      const news = message as FromWorker;
      if (news.type === 'opened') said.onOpened(news.facts.rows, news.facts.truncated);
      else if (news.type === 'outcome') said.onDone();
      else said.onFailed(errorOf(news.failure));
    });
    child.once('close', () => service.close());
    child.send({ plane: 'control', type: 'start', worker: { ...worker, heir } } satisfies ToWorker, () => {});
    return child;
  }
}
