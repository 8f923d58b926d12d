import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { FineTuneJob } from '../../crds/job.ts';
import { jobText, sourcesFor } from '../../crds/job-spec.ts';
import { parseJobFile } from '../../crds/validate.ts';
import { cacheFolder } from '../../worker/data/cache.ts';
import { modelOf, type Prepared, prepare } from '../../worker/engine/prepare.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { parseJob } from '../../worker/journal/job-text.ts';
import { emptyLedger, type Ledger, type Member } from '../../worker/journal/ledger.ts';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import type { LocalWorker } from '../../worker/local.ts';
import { unreadable } from '../../worker/system-error.ts';
import type { Base } from '../base.ts';
import { mistakeLine } from '../validate.ts';
import { capabilities, createView, type View } from '../view/live.ts';
import { planOf } from '../view/plan.ts';
import { Children } from './children.ts';
import { type CrewMember, crewOf } from './crew.ts';
import { type OpenedRun, openRun } from './directory.ts';
import { Recorder } from './recorder.ts';
import { type Finished, finishRun } from './results.ts';

export interface RunOptions {
  readonly file: string;
  readonly workers?: number;
  readonly out?: string;
  readonly set: readonly string[];
  /** Progress goes to this stream. */
  readonly stream: NodeJS.WriteStream;
}

/** Longest wait for workers to say goodbye once the run has ended. */
const GOODBYE_MS = 10_000;

/** Runs a job on this machine: the log in this process, every worker in one of its own. */
export async function runJob(options: RunOptions): Promise<Finished> {
  const text = await readJobText(options.file);
  const job = parse(options, text);
  const crew = crewOf(job.spec, options.workers);
  const canonical = jobText(job);
  const opened = await openRun(job.metadata.name, canonical, options.out);
  const { job: spec } = parseJob(canonical);
  const view = createView({
    stream: options.stream,
    ...capabilities(options.stream, process.env),
    job: { name: job.metadata.name, model: spec.model.uri },
    plan: planOf(spec),
  });
  try {
    const local = new LocalRun(options, job, text, canonical, crew, opened, view);
    return await local.run();
  } finally {
    view.close();
    await opened.log.close();
  }
}

async function readJobText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function parse({ file, set }: RunOptions, text: string): FineTuneJob {
  const { job, mistakes } = parseJobFile(text, set);
  if (job) return job;
  const count = mistakes.length === 1 ? 'a mistake' : `${mistakes.length} mistakes`;
  const lines = mistakes.map((mistake) => mistakeLine(file, mistake));
  throw new OnebyteError('JOB_INVALID', [`${file} has ${count}`, ...lines].join('\n'), {
    field: file,
    remedy: `correct it; onebyte validate ${file} checks it without running it`,
  });
}

class LocalRun {
  readonly #options: RunOptions;
  readonly #job: FineTuneJob;
  readonly #text: string;
  readonly #canonical: string;
  readonly #crew: readonly CrewMember[];
  readonly #opened: OpenedRun;
  readonly #view: View;
  readonly #failed = Promise.withResolvers<never>();

  constructor(
    options: RunOptions,
    job: FineTuneJob,
    text: string,
    canonical: string,
    crew: readonly CrewMember[],
    opened: OpenedRun,
    view: View,
  ) {
    this.#options = options;
    this.#job = job;
    this.#text = text;
    this.#canonical = canonical;
    this.#crew = crew;
    this.#opened = opened;
    this.#view = view;
  }

  async run(): Promise<Finished> {
    const started = performance.now();
    const { directory, log } = this.#opened;
    if (log.torn > 0) this.#notice('warning', `cut ${log.torn} bytes of an unfinished write off the log`);
    this.#view.observe({ type: 'phase', text: 'fetching the model' });
    const prepared = await this.#prepare();
    this.#view.observe({ type: 'model', weights: prepared.weights, trained: prepared.trained });
    const recorder = await Recorder.open(directory, log, this.#view);
    const children = new Children(log, {
      rounds: () => recorder.ledger.totals.rounds,
      onOpened: (name, rows, truncated) => this.#onOpened(name, rows, truncated),
      onNotice: (level, line) => this.#notice(level, line),
      onFailed: (error) => this.#failed.reject(error),
    });
    // Whoever waits for workers hears of it; where nobody does, the failure is nobody's.
    this.#failed.promise.catch(() => {});
    let cancelled = false;
    const interrupt = () => {
      // The first one ends the run in order; the second one at once. Either way the log keeps what was committed.
      if (cancelled) process.exit(130);
      cancelled = true;
      this.#notice('warning', 'interrupted: stopping. The same command goes on from here');
      this.#failed.reject(
        new OnebyteError('INTERRUPTED', 'stopped before its end', {
          remedy: 'run the same command to go on',
        }),
      );
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    try {
      if (recorder.ledger.end === null) {
        this.#view.observe({ type: 'phase', text: 'starting the workers' });
        const { members } = recorder.ledger;
        for (const member of this.#crew) children.start(this.#worker(member, prepared, members));
        await Promise.race([recorder.run(() => children.wireBytes), this.#failed.promise]);
        await children.stop(GOODBYE_MS);
      }
      return await finishRun({
        job: this.#job,
        text: this.#text,
        directory,
        recorder,
        prepared,
        wireBytes: children.wireBytes,
        seconds: (performance.now() - started) / 1000,
        view: this.#view,
      });
    } finally {
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
      children.kill();
      await recorder.close();
    }
  }

  /** The run's genesis: the log's where there is one, else a new one, appended. */
  async #prepare(): Promise<Prepared> {
    const { directory, ledger, log } = this.#opened;
    const preparation = {
      jobText: this.#canonical,
      folder: this.#folder(),
      artifacts: directory.artifacts,
      threads: availableParallelism(),
      log: (line: string) => this.#view.observe({ type: 'phase', text: line }),
    };
    const modelDir = await modelOf(this.#canonical, preparation);
    const base: Base = { model: resolve(modelDir), sha256: this.#job.spec.model.sha256 };
    await writeFile(directory.base, `${JSON.stringify(base, null, 2)}\n`);
    const prepared = await prepare(modelDir, preparation, Date.now, ledger.genesis);
    if (ledger.genesis === null) await appendGenesis(log, prepared.genesis, ledger);
    return prepared;
  }

  /** @param members those that the log says are in, whose processes are gone: their seats are taken over */
  #worker(
    { name, group }: CrewMember,
    { genesis, modelDir }: Prepared,
    members: readonly Member[],
  ): LocalWorker {
    const before = members.find((member) => member.name === name && member.group === group);
    const threads = Math.max(1, Math.floor(availableParallelism() / this.#crew.length));
    const engine = {
      genesis,
      member: name,
      modelDir,
      artifacts: [this.#opened.directory.artifacts, join(cacheFolder(), 'artifacts')],
      data: sourcesFor(this.#job.spec, group),
      folder: this.#folder(),
      threads,
      // A quarter of the machine for all workers' caches together.
      memoryBudgetBytes: Math.floor(totalmem() / 4 / this.#crew.length),
    };
    const id = before?.id ?? randomBytes(8).toString('hex');
    return { id, heir: before !== undefined, name, group, engine, expected: this.#crew.length };
  }

  #folder(): string {
    return resolve(dirname(this.#options.file));
  }

  #onOpened(name: string, rows: Readonly<Record<string, number>>, truncated: number): void {
    if (rows.train === 0)
      this.#notice('warning', `worker ${name} holds no training rows: it will only evaluate`);
    if (truncated > 0)
      this.#notice('info', `worker ${name}: ${truncated} texts were longer than task.maxTokens and cut`);
  }

  #notice(level: 'info' | 'warning' | 'error', text: string): void {
    this.#view.observe({ type: 'notice', level, text });
  }
}

async function appendGenesis(log: OpenedRun['log'], genesis: GenesisRecord, ledger: Ledger): Promise<void> {
  await log.append(sealRecord(ledger.records === 0 ? emptyLedger() : ledger, genesis), {
    expectedLast: log.length,
    id: genesis.uid,
  });
}
