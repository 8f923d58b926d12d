import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { BusHub } from '../../worker/bus/ipc.ts';
import { errorOf } from '../../worker/engine/protocol.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { type FromWorker, isControl, type LocalWorker, type ToWorker } from '../../worker/local.ts';
import { childChannel, type Traffic } from '../../worker/log/channel.ts';
import { serveLog } from '../../worker/log/ipc.ts';
import type { Log } from '../../worker/log/log.ts';

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

/** What became of a worker's starts so far. */
interface Past {
  /** Ends in a row in which the run had not moved. */
  readonly fruitless: number;
  /** Ends in a row before its engine was open. */
  readonly unopened: number;
}

/** The workers of a local run, as child processes that reach log and bus through this one. */
export class Children {
  readonly #log: Log;
  readonly #hub = new BusHub();
  readonly #events: ChildrenEvents;
  readonly #running = new Map<string, ChildProcess>();
  readonly #traffic: { readonly traffic: Traffic }[] = [];
  readonly #gone: Promise<void>[] = [];
  readonly #pauses = new Set<NodeJS.Timeout>();
  #stopping = false;

  constructor(log: Log, events: ChildrenEvents) {
    this.#log = log;
    this.#events = events;
  }

  start(worker: LocalWorker, past: Past = { fruitless: 0, unopened: 0 }): void {
    const rounds = this.#events.rounds();
    const extension = import.meta.filename.endsWith('.ts') ? 'ts' : 'js';
    const child = fork(join(import.meta.dirname, '..', '..', 'worker', `local.${extension}`), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#running.set(worker.name, child);
    const channel = childChannel(child);
    const service = serveLog(this.#log, channel);
    this.#traffic.push(service, this.#hub.attach(channel));
    let opened = false;
    let done = false;
    channel.onMessage((message) => {
      if (!isControl(message)) return;
      const said = message as FromWorker;
      if (said.type === 'opened') {
        opened = true;
        this.#events.onOpened(worker.name, said.facts.rows, said.facts.truncated);
      } else if (said.type === 'outcome') done = true;
      else {
        done = true;
        this.#fail(errorOf(said.failure));
      }
    });
    send(child, { plane: 'control', type: 'start', worker });
    const ended = endOf(child).then((why) => {
      service.close();
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

  #again(worker: LocalWorker, past: Past, why: string): void {
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
      this.start({ ...worker, heir: true }, past);
    }, pause);
    this.#pauses.add(timer);
  }

  /** Asks for the run to end as it stands. */
  cancel(): void {
    for (const child of this.#running.values()) send(child, { plane: 'control', type: 'cancel' });
  }

  /** Bytes that went through the channels to the workers, both directions, each message once for each channel. */
  get wireBytes(): number {
    return this.#traffic.reduce((sum, { traffic }) => sum + traffic.sent.bytes + traffic.received.bytes, 0);
  }

  /** Waits for all workers to end by themselves for `ms`, then ends them. */
  async stop(ms: number): Promise<void> {
    this.#halt();
    const timer = setTimeout(() => this.kill(), ms);
    await Promise.all(this.#gone);
    clearTimeout(timer);
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

/** Why a process ended, or could not be started. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.on('error', ({ message }) => {
      if (child.pid === undefined) resolve(message);
    });
  });
}

function send(child: ChildProcess, message: ToWorker): void {
  if (child.connected) child.send(message, () => {});
}
