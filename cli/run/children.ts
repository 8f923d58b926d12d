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
  /** A worker's engine is open: what it holds. */
  onOpened(name: string, rows: Readonly<Record<string, number>>, truncated: number): void;
  /** Something that people should see. */
  onNotice(level: 'info' | 'warning' | 'error', text: string): void;
  /** No worker can go on; the run fails with this. */
  onFailed(error: OnebyteError): void;
}

/** A worker that ends by itself is started again, at most so often in a row without having opened its engine. */
const MAX_FAILED_STARTS = 3;

/** The workers of a local run, as child processes that reach log and bus through this one. */
export class Children {
  readonly #log: Log;
  readonly #hub = new BusHub();
  readonly #events: ChildrenEvents;
  readonly #running = new Map<string, ChildProcess>();
  readonly #traffic: { readonly traffic: Traffic }[] = [];
  readonly #gone: Promise<void>[] = [];
  #stopping = false;

  constructor(log: Log, events: ChildrenEvents) {
    this.#log = log;
    this.#events = events;
  }

  start(worker: LocalWorker, failures = 0): void {
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
        this.#stopping = true;
        this.#events.onFailed(errorOf(said.failure));
      }
    });
    child.send({ plane: 'control', type: 'start', worker } satisfies ToWorker);
    this.#gone.push(
      new Promise((resolve) => {
        child.once('exit', (code, signal) => {
          service.close();
          this.#running.delete(worker.name);
          if (!done && !this.#stopping)
            this.#again(worker, opened ? 0 : failures + 1, signal ?? `exit code ${code}`);
          resolve();
        });
      }),
    );
  }

  #again(worker: LocalWorker, failures: number, why: string): void {
    if (failures >= MAX_FAILED_STARTS) {
      this.#stopping = true;
      this.#events.onFailed(
        new OnebyteError(
          'WORKER_FAILED',
          `worker ${worker.name} ended ${failures} times before it was ready (${why})`,
          {
            remedy: 'look at what it printed; less memory than the model needs is a common cause',
          },
        ),
      );
      return;
    }
    this.#events.onNotice('warning', `worker ${worker.name} ended (${why}) and is started again`);
    this.start(worker, failures);
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
    this.#stopping = true;
    const timer = setTimeout(() => this.kill(), ms);
    await Promise.all(this.#gone);
    clearTimeout(timer);
  }

  kill(): void {
    this.#stopping = true;
    for (const child of this.#running.values()) child.kill('SIGKILL');
  }
}

function send(child: ChildProcess, message: ToWorker): void {
  if (child.connected) child.send(message, () => {});
}
