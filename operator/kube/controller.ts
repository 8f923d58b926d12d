import { WriteRefused } from './caller.ts';
import type { Clock } from './clock.ts';
import { Aborted } from './errors.ts';
import type { WorkQueue } from './queue.ts';

/** When to look at the key again although nothing happens; nothing: when something does. */
export type Outcome = { readonly requeueAfterMs: number } | undefined;

export interface Pass {
  /** Aborted when the pass takes too long or the controller stops for good. */
  readonly signal: AbortSignal;
  /** Unique number of the pass, for logs. */
  readonly id: number;
}

export type Reconcile = (key: string, pass: Pass) => Promise<Outcome>;
export type PassResult = 'success' | 'error' | 'requeue_after' | 'aborted';

/** Told of every pass, for metrics and logs. */
export interface ControllerObserver {
  started?(key: string, pass: number): void;
  ended?(key: string, pass: number, result: PassResult, seconds: number): void;
  failed?(key: string, pass: number, error: unknown, kind: 'error' | 'terminal' | 'panic'): void;
}

export interface ControllerOptions {
  readonly queue: WorkQueue;
  readonly reconcile: Reconcile;
  readonly clock: Clock;
  /** Passes at once, of different keys. Default 1. */
  readonly concurrency?: number;
  /** A pass longer than this is told to end. Default 2 minutes. */
  readonly passMs?: number;
  /** How long passes under way may go on after a stop before their signal is aborted. Default 5 s. */
  readonly graceMs?: number;
  readonly observer?: ControllerObserver;
}

/** Trying again cannot help before the object changes. */
export class TerminalError extends Error {
  override readonly name = 'TerminalError';
}

/**
 * Takes keys from a queue and reconciles them, some at once, never one key twice. A pass that throws is tried again
 * with back-off; a programming error is contained and counted like any other failure.
 */
export class Controller {
  readonly #options: ControllerOptions;
  #passes = 0;
  #active = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Passes under way. */
  get active(): number {
    return this.#active;
  }

  get concurrency(): number {
    return this.#options.concurrency ?? 1;
  }

  /** Works until the signal is aborted, then lets passes under way end within the grace time. */
  async run(signal: AbortSignal): Promise<void> {
    const { queue, clock, graceMs = 5_000 } = this.#options;
    const hardStop = new AbortController();
    let cancel = () => {};
    const stop = () => {
      queue.shut();
      cancel = clock.after(graceMs, () => hardStop.abort());
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    await Promise.all(Array.from({ length: this.concurrency }, () => this.#work(hardStop.signal)));
    signal.removeEventListener('abort', stop);
    cancel();
  }

  async #work(hardStop: AbortSignal): Promise<void> {
    const { queue } = this.#options;
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      try {
        await this.#pass(key, hardStop);
      } finally {
        queue.done(key);
      }
    }
  }

  async #pass(key: string, hardStop: AbortSignal): Promise<void> {
    const { queue, reconcile, clock, observer, passMs = 120_000 } = this.#options;
    const id = ++this.#passes;
    const ender = new AbortController();
    const follow = () => ender.abort();
    if (hardStop.aborted) follow();
    hardStop.addEventListener('abort', follow, { once: true });
    const stopTimer = clock.after(passMs, follow);
    const started = clock.monotonic();
    let result: PassResult = 'success';
    this.#active++;
    observer?.started?.(key, id);
    try {
      const outcome = await reconcile(key, { signal: ender.signal, id });
      queue.forget(key);
      if (outcome !== undefined) {
        result = 'requeue_after';
        queue.addAfter(key, outcome.requeueAfterMs);
      }
    } catch (error) {
      result = hardStop.aborted || error instanceof WriteRefused ? 'aborted' : 'error';
      if (result === 'error') this.#fail(key, id, error);
    } finally {
      this.#active--;
      stopTimer();
      hardStop.removeEventListener('abort', follow);
      observer?.ended?.(key, id, result, (clock.monotonic() - started) / 1_000);
    }
  }

  #fail(key: string, id: number, error: unknown): void {
    const { queue, observer } = this.#options;
    const kind = error instanceof TerminalError ? 'terminal' : isPanic(error) ? 'panic' : 'error';
    observer?.failed?.(key, id, error, kind);
    if (kind === 'terminal') queue.forget(key);
    else queue.retry(key);
  }
}

/** A mistake in our own code, as far as JavaScript lets one tell. */
function isPanic(error: unknown): boolean {
  return (
    !(error instanceof Error) ||
    error instanceof TypeError ||
    error instanceof ReferenceError ||
    error instanceof RangeError
  );
}

/** Whether a failure only says that the pass was told to end. */
export function isStop(error: unknown): boolean {
  return error instanceof Aborted || error instanceof WriteRefused;
}
