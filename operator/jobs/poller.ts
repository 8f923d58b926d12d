import type { Clock } from '../kube/mod.ts';
import type { LogJob, LogPort, LogState } from './log-port.ts';
import { type LogView, unasked } from './world.ts';

export interface PollerOptions {
  readonly port: LogPort;
  readonly clock: Clock;
  /** Told when a job's view changed so that its status may. */
  readonly changed: (job: LogJob) => void;
  /** Time between two questions for one log. Default 5 s. */
  readonly everyMs?: number;
  /** Questions at once. Default 16. */
  readonly concurrency?: number;
  readonly on?: { asked?(outcome: LogState['type'] | 'failed', seconds: number): void };
}

interface Followed {
  readonly job: LogJob;
  view: LogView;
  dueAt: number;
  isBusy: boolean;
  /** Rounds and elapsed milliseconds of a while ago, to tell the present speed by. */
  sample: { readonly rounds: number; readonly elapsed: number } | null;
}

/** The longest pause after failures. A server that is down is not asked by every job at once. */
const LONGEST_PAUSE = 60_000;
const ANSWER_WITHIN = 5_000;
/** Rounds over which the speed is measured, at least. */
const SPEED_ROUNDS = 10;

/** Asks the logs of running jobs for their last record, each every few seconds; nobody waits for the answers. */
export class LogPoller {
  readonly #options: PollerOptions;
  readonly #jobs = new Map<string, Followed>();
  #busy = 0;
  #failures = 0;
  #pauseUntil = 0;
  #wake: () => void = () => undefined;

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** Asks for a log from now on, where that is not done yet. */
  follow(job: LogJob): void {
    if (this.#followed(job) !== undefined) return;
    if (this.#jobs.has(job.uid)) this.forget(job.uid);
    const dueAt = this.#options.clock.monotonic();
    this.#jobs.set(job.uid, { job, view: unasked, dueAt, isBusy: false, sample: null });
    this.#wake();
  }

  /** What is known of a log. */
  view(job: LogJob): LogView {
    return this.#followed(job)?.view ?? unasked;
  }

  /** The servers of a job may be others by now, and what the old ones said is no word on its log. */
  #followed({ uid, url }: LogJob): Followed | undefined {
    const followed = this.#jobs.get(uid);
    return followed?.job.url === url ? followed : undefined;
  }

  forget(uid: string): void {
    this.#jobs.delete(uid);
    this.#options.port.leave(uid);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, concurrency = 16 } = this.#options;
    while (!signal.aborted) {
      const now = clock.monotonic();
      let next = now + 1_000;
      for (const followed of now < this.#pauseUntil ? [] : this.#jobs.values()) {
        if (this.#busy >= concurrency) break;
        if (followed.isBusy) continue;
        if (followed.dueAt <= now) void this.#ask(followed, signal);
        else next = Math.min(next, followed.dueAt);
      }
      await this.#sleep(Math.max(5, next - now), signal);
    }
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        signal.removeEventListener('abort', end);
        this.#wake = () => undefined;
        resolve();
      };
      const cancel = this.#options.clock.after(ms, end);
      signal.addEventListener('abort', end, { once: true });
      this.#wake = end;
    });
  }

  async #ask(followed: Followed, signal: AbortSignal): Promise<void> {
    const { port, clock, everyMs = 5_000, on } = this.#options;
    const begin = clock.monotonic();
    followed.isBusy = true;
    this.#busy++;
    const late = new AbortController();
    const cancel = clock.after(ANSWER_WITHIN, () => late.abort(new Error('no answer in time')));
    try {
      const answer = await withSignal(
        (both) => port.last(followed.job, both),
        AbortSignal.any([signal, late.signal]),
      );
      this.#failures = 0;
      on?.asked?.(answer.type, (clock.monotonic() - begin) / 1_000);
      this.#answered(followed, answer);
    } catch (error) {
      // Where it is asked for no more, its connection may have been closed under the question.
      if (signal.aborted || this.#jobs.get(followed.job.uid) !== followed) return;
      const now = clock.monotonic();
      on?.asked?.('failed', (now - begin) / 1_000);
      // One log that cannot be read is its own matter; several in a row are the server's.
      if (++this.#failures >= 3)
        this.#pauseUntil = now + Math.min(LONGEST_PAUSE, everyMs * 2 ** Math.min(this.#failures - 3, 10));
      const problem = error instanceof Error ? error.message : String(error);
      this.#set(followed, { ...followed.view, problem });
    } finally {
      cancel();
      followed.isBusy = false;
      followed.dueAt = clock.monotonic() + everyMs;
      this.#busy--;
      this.#wake();
    }
  }

  #answered(followed: Followed, answer: LogState): void {
    if (this.#jobs.get(followed.job.uid) !== followed) return;
    this.#set(followed, { answer, roundMs: speedOf(followed, answer), problem: null });
  }

  #set(followed: Followed, view: LogView): void {
    const isSame =
      JSON.stringify(view.answer) === JSON.stringify(followed.view.answer) &&
      view.problem === followed.view.problem;
    followed.view = view;
    if (!isSame) this.#options.changed(followed.job);
  }
}

/** Milliseconds of a round: of the last ones where enough are known, else of all. */
function speedOf(followed: Followed, answer: LogState): number | null {
  if (answer.type !== 'known' || answer.summary.rounds === 0) return null;
  const { rounds, elapsed } = answer.summary;
  const { sample } = followed;
  const since = sample === null ? 0 : rounds - sample.rounds;
  const ms = sample !== null && since > 0 ? (elapsed - sample.elapsed) / since : elapsed / rounds;
  if (sample === null || since < 0 || since >= SPEED_ROUNDS) followed.sample = { rounds, elapsed };
  // A fresh sample says nothing yet: what was measured up to it still holds.
  return since === 0 && followed.view.roundMs !== null ? followed.view.roundMs : ms;
}

/** A call that ends with its signal, whether or not the callee heeds it. */
function withSignal<T>(call: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    call(signal)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', stop));
  });
}
