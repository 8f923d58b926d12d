import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { NatsConfig } from '../../worker/nats/connect.ts';
import { freshReplica, genesisFor, type JobChoices, jobOf, PLAIN_CHOICES } from '../simulation/job.ts';
import type { TestJob } from './job.ts';
import type { MemberConfig, MemberNews } from './member.ts';

export interface FleetOptions {
  readonly rounds: number;
  readonly probes?: number;
  readonly expected?: number;
  readonly probeMs?: number;
  readonly stateless?: boolean;
  readonly digestEvery?: number;
  readonly witnessEvery?: number;
  readonly choices?: Partial<JobChoices>;
  /** How members connect, by worker; by default as anybody. */
  readonly nats?: (worker: string) => Partial<NatsConfig>;
  readonly domain?: string;
}

export type Done = Extract<MemberNews, { type: 'done' }>;
export type Failed = Extract<MemberNews, { type: 'failed' }>;

/** One member's process. */
export class TestMember {
  readonly worker: string;
  /** Whether it has told of a state yet. */
  moved = false;
  readonly ended: Promise<Done | Failed | null>;
  readonly #child: ChildProcess;

  /** @param serve is given the process, to serve it what it uses over its channel */
  constructor(
    config: MemberConfig,
    onNews: (news: MemberNews) => void,
    serve: (child: ChildProcess) => void = () => {},
  ) {
    this.worker = config.worker;
    const child = fork(join(import.meta.dirname, 'member.ts'), [JSON.stringify(config)], {
      serialization: 'advanced',
      ...within(config),
      // Most of what a member costs is its start: what one compiled, the others take over.
      env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'onebyte-test-compiled') },
    });
    this.#child = child;
    let end: Done | Failed | null = null;
    serve(child);
    child.on('message', (news: MemberNews) => {
      if (news.type === 'moved') this.moved = true;
      if (news.type === 'done' || news.type === 'failed') end = news;
      onNews(news);
    });
    // Its channel ends after it, and what it said last may be on it.
    this.ended = once(child, 'close').then(() => end);
  }

  /** SIGTERM: asks it to leave. */
  leave(): void {
    this.#child.kill('SIGTERM');
  }

  /** Asks it to end the run as it stands. */
  cancel(): void {
    this.#child.kill('SIGUSR2');
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

function within({ inside = [], preload }: MemberConfig): { execPath?: string; execArgv?: string[] } {
  const [execPath, ...rest] = inside;
  const node = preload === undefined ? [] : ['--import', preload];
  if (execPath === undefined) return { execArgv: node };
  return { execPath, execArgv: [...rest, process.execPath, ...node] };
}

/**
 * The members of one run, in processes of their own, and what all of them said about it: no two may ever have been in
 * different states after the same records.
 */
export class Fleet {
  readonly job: TestJob;
  readonly members = new Set<TestMember>();
  rewinds = 0;
  diverged = 0;
  jumps = 0;
  round = 0;
  readonly #options: FleetOptions;
  /** Digest of the state, by chain value. */
  readonly #digests = new Map<string, string>();
  readonly #disagreements: string[] = [];
  #changed = Promise.withResolvers<void>();
  #started = 0;

  private constructor(job: TestJob, options: FleetOptions) {
    this.job = job;
    this.#options = options;
  }

  /** Writes the genesis record. */
  static async make(job: TestJob, options: FleetOptions, admin: Partial<NatsConfig> = {}): Promise<Fleet> {
    const log = await job.log(admin);
    const spec = jobOf({ ...DEFAULT_CHOICES, ...choicesOf(options) });
    const genesis = sealRecord(emptyLedger(), { ...genesisFor(spec), uid: job.names.uid });
    await log.append(genesis, { expectedLast: 0, id: 'genesis' });
    return new Fleet(job, options);
  }

  /** Starts a member; of the same worker again, it is another life of it. */
  start(worker = `w${this.#started}`, changes: Partial<MemberConfig> = {}): TestMember {
    this.#started++;
    const {
      expected = 1,
      probeMs = 0,
      stateless = false,
      witnessEvery = 10,
      nats,
      domain,
      choices,
    } = this.#options;
    const member = new TestMember(
      {
        nats: { servers: this.job.system.urls, name: worker, ...nats?.(worker) },
        ...(domain === undefined ? {} : { domain }),
        uid: this.job.names.uid,
        worker,
        expected,
        stages: choices?.rounds?.length ?? 1,
        probeMs,
        stateless,
        witnessEvery,
        ...changes,
      },
      (news) => this.#hear(news),
    );
    this.members.add(member);
    member.ended.then(() => this.members.delete(member));
    return member;
  }

  startAll(count: number): TestMember[] {
    return Array.from({ length: count }, () => this.start());
  }

  /** Resolves once some member has been at this round. */
  async reach(round: number): Promise<void> {
    while (this.round < round) {
      if (this.members.size === 0) throw new Error(`no member is left at round ${this.round}`);
      await Promise.race([this.#changed.promise, ...[...this.members].map(({ ended }) => ended)]);
    }
  }

  /** Counts from here again: what was reached may be taken back. */
  forget(round: number): void {
    this.round = Math.min(this.round, round);
  }

  /** Kills what still runs. */
  async stop(): Promise<void> {
    await Promise.all([...this.members].map((member) => member.kill()));
  }

  /** Replays the log from its start, holding it to every digest that it names and that members told. */
  async verdict(admin: Partial<NatsConfig> = {}): Promise<Ledger> {
    assert.deepEqual(this.#disagreements, []);
    assert.equal(this.diverged, 0);
    const log = await this.job.log(admin);
    const replica = freshReplica(this.#options.choices?.rounds?.length ?? 1);
    let ledger = emptyLedger();
    for await (const entry of log.read(1)) {
      const outcome = follow(ledger, entry);
      if ('ignored' in outcome) continue;
      const { record, body } = outcome;
      if ((record.kind === 'round' && record.digest !== null) || record.kind === 'end')
        assert.equal(record.digest, replica.digest(), `digest of round ${record.round}`);
      replica.commit(record, body);
      ledger = outcome.ledger;
      const told = this.#digests.get(Buffer.from(ledger.chain).toString('hex'));
      if (told !== undefined) assert.equal(told, replica.digest(), `state after round ${ledger.round}`);
    }
    return ledger;
  }

  #hear(news: MemberNews): void {
    if (news.type === 'rewound') this.rewinds++;
    if (news.type === 'diverged') this.diverged++;
    if (news.type === 'jumped') this.jumps++;
    if (news.type !== 'moved') return;
    this.round = Math.max(this.round, news.round);
    const told = this.#digests.get(news.chain);
    if (told === undefined) this.#digests.set(news.chain, news.digest);
    else if (told !== news.digest)
      this.#disagreements.push(`round ${news.round}: ${told} and ${news.digest}`);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

const DEFAULT_CHOICES: JobChoices = {
  ...PLAIN_CHOICES,
  rounds: [100],
  probes: 5,
  digestEvery: 50,
};

function choicesOf({ rounds, probes = 5, digestEvery = 50, choices }: FleetOptions): Partial<JobChoices> {
  return { rounds: [rounds], probes, digestEvery, ...choices };
}
