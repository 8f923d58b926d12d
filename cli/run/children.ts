import type { ChildProcess } from 'node:child_process';
import { OnebyteError } from '../../worker/errors.ts';
import type { Hired } from './venue.ts';

export interface ChildrenEvents {
  /** Rounds of the run so far: what tells a worker that dies now and then from one that nothing comes of. */
  rounds(): number;
  /** A worker's engine is open: what it holds. */
  onOpened(name: string, rows: Readonly<Record<string, number>>, truncated: number): void;
  /** Something that people should see. */
  onNotice(level: 'info' | 'warning' | 'error', text: string): void;
  /** No worker can go on; the run fails with this. */
  onFailed(error: OnebyteError): void;
}

/** A worker that ends by itself is started again, at most so often in a row without a round in between. */
const MAX_FRUITLESS = 5;
/** Wait before a worker that never came up is started again, doubled each time, in milliseconds. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 30_000;

const NOBODY_LEFT = new OnebyteError('INTERRUPTED', 'every worker has left the run before its end', {
  remedy: 'give the same command again to go on',
});

/** What a worker's process says. */
export interface Said {
  /** Its engine is open: what it holds. */
  onOpened(rows: Readonly<Record<string, number>>, truncated: number): void;
  /** It has left the run, or the run has ended. */
  onDone(): void;
  /** A mistake that another start would meet again. */
  onFailed(error: OnebyteError): void;
}

/** How a worker's process is started. */
export interface Launcher<W> {
  /** @param heir whether a process of this worker was there before */
  launch(worker: W, heir: boolean, said: Said): ChildProcess;
  /** Bytes that went between the workers and the log and the bus, both directions. */
  readonly wireBytes: number;
  /** Whether workers that are dismissed are to tell the others; else it is as if they were killed. */
  readonly polite: boolean;
}

/** What became of a worker's starts so far. */
interface Past {
  /** Ends in a row in which the run had not moved. */
  readonly fruitless: number;
  /** Ends in a row before its engine was open. */
  readonly unopened: number;
}

/** The workers of a run in child processes, each started again when it ends before the run does. */
export class Children<W extends { readonly name: string }> implements Hired {
  readonly #launcher: Launcher<W>;
  readonly #events: ChildrenEvents;
  readonly #running = new Map<string, ChildProcess>();
  readonly #gone: Promise<void>[] = [];
  readonly #pauses = new Set<NodeJS.Timeout>();
  #stopping = false;

  constructor(launcher: Launcher<W>, events: ChildrenEvents) {
    this.#launcher = launcher;
    this.#events = events;
  }

  get wireBytes(): number {
    return this.#launcher.wireBytes;
  }

  start(worker: W, heir = false, past: Past = { fruitless: 0, unopened: 0 }): void {
    const rounds = this.#events.rounds();
    let opened = false;
    let done = false;
    const child = this.#launcher.launch(worker, heir, {
      onOpened: (rows, truncated) => {
        opened = true;
        this.#events.onOpened(worker.name, rows, truncated);
      },
      onDone: () => {
        done = true;
      },
      onFailed: (error) => {
        done = true;
        this.#fail(error);
      },
    });
    this.#running.set(worker.name, child);
    const ended = endOf(child).then((why) => {
      this.#running.delete(worker.name);
      const fruitless = this.#events.rounds() > rounds ? 0 : past.fruitless + 1;
      const unopened = opened ? 0 : past.unopened + 1;
      if (!done) this.#again(worker, { fruitless, unopened }, why);
      else if (this.#running.size === 0 && this.#pauses.size === 0) this.#fail(NOBODY_LEFT);
    });
    this.#gone.push(ended);
  }

  #fail(error: OnebyteError): void {
    if (this.#stopping) return;
    this.#halt();
    this.#events.onFailed(error);
  }

  #again(worker: W, past: Past, why: string): void {
    if (this.#stopping) return;
    if (past.fruitless >= MAX_FRUITLESS) {
      const message = `worker ${worker.name} ended ${past.fruitless} times in a row and the run did not move (${why})`;
      const remedy = 'look at what it printed; less memory than the model needs is a common cause';
      this.#fail(new OnebyteError('WORKER_FAILED', message, { remedy }));
      return;
    }
    this.#events.onNotice('warning', `worker ${worker.name} ended (${why}) and is started again`);
    const pause = past.unopened === 0 ? 0 : Math.min(FIRST_PAUSE * 2 ** past.unopened, LONGEST_PAUSE);
    const timer = setTimeout(() => {
      this.#pauses.delete(timer);
      this.start(worker, true, past);
    }, pause);
    this.#pauses.add(timer);
  }

  /** Waits for all workers to end by themselves for `ms`, then ends them. */
  async stop(ms: number): Promise<void> {
    this.#halt();
    const timer = setTimeout(() => this.kill(), ms);
    await Promise.all(this.#gone);
    clearTimeout(timer);
  }

  async dismiss(ms: number): Promise<void> {
    this.#halt();
    if (!this.#launcher.polite) this.kill();
    for (const child of this.#running.values()) child.kill('SIGTERM');
    await this.stop(ms);
  }

  kill(): void {
    this.#halt();
    for (const child of this.#running.values()) child.kill('SIGKILL');
  }

  /** Starts nobody any more. */
  #halt(): void {
    this.#stopping = true;
    for (const timer of this.#pauses) clearTimeout(timer);
    this.#pauses.clear();
  }
}

/** Why a process ended, or could not be started. What it said last may come after its `exit`, and before its `close`. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.on('error', ({ message }) => {
      if (child.pid === undefined) resolve(message);
    });
  });
}
