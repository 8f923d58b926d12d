import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import { jobText } from '../../crds/job-spec.ts';
import { modelOf } from '../../worker/engine/job-model.ts';
import { type Prepared, prepare } from '../../worker/engine/prepare.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { parseJob } from '../../worker/journal/job-text.ts';
import type { Base } from '../base.ts';
import { readJobFile } from '../job-file.ts';
import { capabilities, createView, type View } from '../view/live.ts';
import { planOf } from '../view/plan.ts';
import { crewOf } from './crew.ts';
import { EmbeddedVenue } from './embedded-venue.ts';
import { NatsVenue } from './nats-venue.ts';
import { Recorder } from './recorder.ts';
import { type Finished, finishRun } from './results.ts';
import type { Assignment, Hired, Venue } from './venue.ts';

export interface RunOptions {
  readonly file: string;
  readonly workers?: number;
  readonly out?: string;
  /** Servers whose log and bus are used in place of this process'. */
  readonly nats?: string;
  readonly set: readonly string[];
  /** Progress goes to this stream. */
  readonly stream: NodeJS.WriteStream;
}

/** Longest wait for workers to say goodbye once the run has ended. */
const GOODBYE_MS = 10_000;
/** The same where it is stopped before. */
const DISMISSAL_MS = 5000;

/** Runs a job on this machine, over the log in this process or over NATS. */
export async function runJob(options: RunOptions): Promise<Finished> {
  const { text, job } = await readJobFile(options.file, options.set);
  const canonical = jobText(job);
  const assignment: Assignment = {
    job,
    jobText: canonical,
    crew: crewOf(job.spec, options.workers),
    folder: resolve(dirname(options.file)),
  };
  const venue: Venue =
    options.nats === undefined
      ? await EmbeddedVenue.open(job.metadata.name, canonical, options.out)
      : await NatsVenue.open(assignment, { out: options.out, url: options.nats, env: process.env });
  const { job: spec } = parseJob(canonical);
  const view = createView({
    stream: options.stream,
    ...capabilities(options.stream, process.env),
    job: { name: job.metadata.name, model: spec.model.uri },
    plan: planOf(spec),
  });
  try {
    return await new Run(assignment, text, venue, view).run();
  } finally {
    view.close();
    await venue.close();
  }
}

class Run {
  readonly #assignment: Assignment;
  readonly #text: string;
  readonly #venue: Venue;
  readonly #view: View;
  readonly #failed = Promise.withResolvers<never>();

  /** @param text the job file as it was given */
  constructor(assignment: Assignment, text: string, venue: Venue, view: View) {
    this.#assignment = assignment;
    this.#text = text;
    this.#venue = venue;
    this.#view = view;
  }

  async run(): Promise<Finished> {
    const started = performance.now();
    const { directory, log, notices } = this.#venue;
    for (const notice of notices) this.#notice('warning', notice);
    this.#view.observe({ type: 'phase', text: 'fetching the model' });
    const prepared = await this.#prepare();
    this.#view.observe({ type: 'model', weights: prepared.weights, trained: prepared.trained });
    const recorder = await Recorder.open(directory, log, this.#view);
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
    let hired: Hired | null = null;
    try {
      if (recorder.ledger.end === null) {
        this.#view.observe({ type: 'phase', text: 'starting the workers' });
        const workers = this.#hire(recorder, prepared);
        hired = workers;
        await Promise.race([recorder.run(() => workers.wireBytes), this.#failed.promise]);
        await workers.stop(GOODBYE_MS);
      }
      return await finishRun({
        job: this.#assignment.job,
        text: this.#text,
        directory,
        recorder,
        prepared,
        wireBytes: hired?.wireBytes ?? 0,
        seconds: (performance.now() - started) / 1000,
        view: this.#view,
      });
    } finally {
      await hired?.dismiss(DISMISSAL_MS);
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
      await recorder.close();
    }
  }

  #hire(recorder: Recorder, prepared: Prepared): Hired {
    return this.#venue.hire(this.#assignment, prepared, recorder.ledger, {
      rounds: () => recorder.ledger.totals.rounds,
      onOpened: (name, rows, truncated) => this.#onOpened(name, rows, truncated),
      onNotice: (level, line) => this.#notice(level, line),
      onFailed: (error) => this.#failed.reject(error),
    });
  }

  /** The run's genesis: the log's where there is one, else a new one, appended. */
  async #prepare(): Promise<Prepared> {
    const { directory, ledger, uid } = this.#venue;
    const { job, jobText, folder } = this.#assignment;
    const preparation = {
      jobText,
      ...(uid === undefined ? {} : { uid }),
      folder,
      artifacts: directory.artifacts,
      threads: availableParallelism(),
      log: (line: string) => this.#view.observe({ type: 'phase', text: line }),
    };
    const modelDir = await modelOf(jobText, preparation);
    const base: Base = { model: resolve(modelDir), sha256: job.spec.model.sha256 };
    await writeFile(directory.base, `${JSON.stringify(base, null, 2)}\n`);
    const prepared = await prepare(modelDir, preparation, Date.now, ledger.genesis);
    if (ledger.genesis === null) await this.#venue.begin(prepared.genesis);
    return prepared;
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
