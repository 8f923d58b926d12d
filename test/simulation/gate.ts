import type { Bus } from '../../worker/bus/bus.ts';
import type { AppendOptions, Log, LogEntry, LogEvent } from '../../worker/log/log.ts';
import { AsyncQueue } from '../../worker/log/queue.ts';
import type { SimulatedLogClient } from '../../worker/log/simulated.ts';
import type { Scheduler } from '../../worker/log/virtual-time.ts';
import type { Clock } from '../../worker/round/clock.ts';

/** The one way by which anything reaches a simulated process, so that it can be stopped, resumed and killed. */
export class Gate {
  #state: 'open' | 'paused' | 'dead' = 'open';
  #held: (() => void)[] = [];

  get dead(): boolean {
    return this.#state === 'dead';
  }

  pass(run: () => void): void {
    if (this.#state === 'open') run();
    else if (this.#state === 'paused') this.#held.push(run);
  }

  after(scheduler: Scheduler, ms: number, run: () => void): void {
    scheduler.at(ms, () => this.pass(run));
  }

  pause(): void {
    if (this.#state === 'open') this.#state = 'paused';
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'open';
    const held = this.#held;
    this.#held = [];
    for (const run of held) this.pass(run);
  }

  kill(): void {
    this.#state = 'dead';
    this.#held = [];
  }
}

export function gatedClock(scheduler: Scheduler, gate: Gate): Clock {
  return {
    now: () => scheduler.now,
    setTimer(ms, run) {
      let set = true;
      gate.after(scheduler, ms, () => {
        if (set) run();
      });
      return () => {
        set = false;
      };
    },
  };
}

export function gatedBus(end: Bus, gate: Gate): Bus {
  return {
    self: end.self,
    send: (to, data) => end.send(to, data),
    broadcast: (data) => end.broadcast(data),
    onMessage: (handler) => end.onMessage((from, data) => gate.pass(() => handler(from, data))),
    close: () => end.close(),
  };
}

interface AppendHooks {
  asked(data: Uint8Array): void;
  options(asked: AppendOptions): AppendOptions;
}

export class GatedLog implements Log {
  readonly #client: SimulatedLogClient;
  readonly #gate: Gate;
  readonly #hooks: AppendHooks;

  constructor(client: SimulatedLogClient, gate: Gate, hooks: AppendHooks) {
    this.#client = client;
    this.#gate = gate;
    this.#hooks = hooks;
  }

  append(data: Uint8Array, asked: AppendOptions): Promise<number> {
    this.#hooks.asked(data);
    const options = this.#hooks.options(asked);
    return new Promise((resolve, reject) => {
      this.#client.appendThen(data, options, (result) =>
        this.#gate.pass(() => (typeof result === 'number' ? resolve(result) : reject(result))),
      );
    });
  }

  last(): Promise<LogEntry | null> {
    return this.#gated(this.#client.last());
  }

  async *read(from: number, to?: number): AsyncIterable<LogEntry> {
    const entries: LogEntry[] = [];
    const collect = async () => {
      for await (const entry of this.#client.read(from, to)) entries.push(entry);
    };
    await this.#gated(collect());
    yield* entries;
  }

  tail(from: number, signal: AbortSignal): AsyncIterable<LogEvent> {
    let stop = () => {};
    const queue = new AsyncQueue<LogEvent>(() => stop(), signal);
    if (!queue.closed)
      stop = this.#client.tailEach(from, (event) => this.#gate.pass(() => queue.push(event)));
    return queue;
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #gated<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => this.#gate.pass(() => resolve(value)),
        (error: unknown) => this.#gate.pass(() => reject(error)),
      );
    });
  }
}
