import { createHash } from 'node:crypto';
import type { Bus } from '../bus/bus.ts';
import { OnebyteError } from '../errors.ts';
import { sealRecord } from '../journal/envelope.ts';
import type { Ledger } from '../journal/ledger.ts';
import type { Digest, EndRecord, Join, JournalRecord } from '../journal/record.ts';
import { type Log, LogConflict, type LogEntry, LogUnavailable } from '../log/log.ts';
import { type Checkpoints, checkpointDue, type Start } from './checkpoint.ts';
import { type Clock, sleep, systemClock } from './clock.ts';
import { ABANDONED, EngineDesk, type EnginePort } from './engine-port.ts';
import type { Effect, Event, TimerName } from './event.ts';
import { Follower, type Step } from './follower.ts';
import { step } from './machine.ts';
import { decodeMessage, encodeMessage, tagOf } from './messages.ts';
import { initialState, type MachineOptions, type MachineState } from './state.ts';
import { Timers } from './timers.ts';

export interface MemberPorts {
  readonly log: Log;
  /** Its `self` is the member's id. */
  readonly bus: Bus;
  readonly engine: EnginePort;
  readonly clock?: Clock;
  /** Where the member begins, with its engine, in place of the log's first entry. */
  readonly start?: Start;
  readonly checkpoints?: Checkpoints;
  /** Sees every step, for metrics and views. */
  readonly onStep?: (event: Event, effects: readonly Effect[], state: MachineState) => void;
  /** In place of the machine; for experiments. */
  readonly step?: typeof step;
}

export type Outcome =
  | { readonly type: 'left'; readonly released: boolean }
  | { readonly type: 'finished'; readonly record: EndRecord; readonly own: Digest | null };

const PAUSE = 250;
const MAX_REBUILDS = 3;

/** Runs one member over real ports: all events go through one queue, one at a time, into the machine. */
export class MemberDriver {
  /** Ends with the member; rejects on an error of its engine, and when the log is full or speaks an unknown version. */
  readonly done: Promise<Outcome>;
  readonly #ports: MemberPorts;
  readonly #clock: Clock;
  readonly #step: typeof step;
  readonly #finish: PromiseWithResolvers<Outcome> = Promise.withResolvers();
  readonly #ended = new AbortController();
  readonly #queue: Event[] = [];
  readonly #timers: Timers<TimerName>;
  #pumping = false;
  readonly #desk: EngineDesk;
  #state: MachineState;
  #follower: Follower;
  /** Whether state and ledger are to be built from the log's first entry on. */
  #anew: { readonly why: 'diverged'; readonly round: number } | { readonly why: 'lost' } | null = null;
  #rebuilds = 0;
  /** The snapshot that is being kept, and whether the log still holds what it is of. */
  #storing: { readonly round: number; lost: boolean } | null = null;

  constructor(self: Join, ports: MemberPorts, options: Partial<MachineOptions> = {}) {
    this.#ports = ports;
    this.#clock = ports.clock ?? systemClock;
    this.#timers = new Timers(this.#clock, (name) => this.#post({ type: 'timer', name }));
    this.#step = ports.step ?? step;
    this.#state = initialState(self, options, ports.start);
    this.#desk = new EngineDesk(ports.engine);
    this.#follower = new Follower(ports.log, this.#clock, ports.start);
    this.done = this.#finish.promise;
    ports.bus.onMessage((from, data) => {
      const message = decodeMessage(data);
      if (message !== null) this.#post({ type: 'message', from, message });
    });
    this.#follow().catch((error: unknown) => this.#fail(error));
  }

  get state(): MachineState {
    return this.#state;
  }

  /** Asks the member to leave the run; `done` follows within `leaveWithin`. */
  leave(): void {
    this.#post({ type: 'leave' });
  }

  /** Asks for the run to end as it stands. */
  cancel(): void {
    this.#post({ type: 'cancel' });
  }

  /** Stops at once and says nothing to anybody. */
  abort(reason: Error): void {
    this.#fail(reason);
  }

  #post(event: Event): void {
    if (this.#ended.signal.aborted) return;
    this.#queue.push(event);
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const { state, effects } = this.#step(this.#state, next, this.#clock.now());
        this.#state = state;
        this.#ports.onStep?.(next, effects, state);
        for (const effect of effects) this.#perform(effect);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pumping = false;
    }
  }

  #perform(effect: Effect): void {
    const { bus } = this.#ports;
    switch (effect.type) {
      case 'probe':
        this.#ask(this.#desk.probe(effect), (result) =>
          result === null ? null : { ...result, type: 'probed', tag: effect.tag, slot: effect.slot },
        );
        break;
      case 'evaluate':
        this.#ask(this.#desk.evaluate(effect), (sums) =>
          sums === null ? null : { type: 'evaluated', tag: effect.tag, slot: effect.slot, sums },
        );
        break;
      case 'digest':
        this.#ask(this.#desk.digest(effect.tag), (digest) => ({ type: 'digested', tag: effect.tag, digest }));
        break;
      case 'prepare':
        this.#ask(this.#desk.prepare(), () => ({ type: 'prepared' }));
        break;
      case 'abandon':
        this.#desk.abandon();
        break;
      case 'append':
        this.#append(effect);
        break;
      case 'send':
        bus.send(effect.to, encodeMessage(effect.message));
        break;
      case 'broadcast':
        bus.broadcast(encodeMessage(effect.message));
        break;
      case 'setTimer':
        this.#timers.set(effect.name, effect.ms);
        break;
      case 'cancelTimer':
        this.#timers.cancel(effect.name);
        break;
      case 'look':
        this.#ask(this.#last(), (last) => ({ type: 'started', last }));
        break;
      case 'resync':
        this.#follower.resync();
        break;
      case 'diverged':
        this.#anew = { why: 'diverged', round: effect.round };
        break;
      case 'left':
      case 'finished':
        this.#stop();
        this.#finish.resolve(effect);
    }
  }

  #ask<T>(answer: Promise<T>, event: (value: T) => Event | null): void {
    answer.then(
      (value) => {
        const made = event(value);
        if (made !== null) this.#post(made);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #append({ record, ledger, expectedLast }: Effect & { type: 'append' }): void {
    let data: Uint8Array;
    try {
      data = sealRecord(ledger, record);
    } catch (error) {
      if (!(error instanceof OnebyteError)) throw error;
      // What others sent cannot be written down. Another proposer may have heard less of it.
      this.#clock.setTimer(0, () => this.#post({ type: 'unavailable', expectedLast }));
      return;
    }
    const id = createHash('sha256').update(data).digest('base64url').slice(0, 22);
    this.#ports.log.append(data, { expectedLast, id }).then(
      () => this.#post({ type: 'appended', expectedLast }),
      (error: unknown) => {
        if (error instanceof LogConflict) this.#post({ type: 'conflict', expectedLast });
        else if (error instanceof LogUnavailable) this.#post({ type: 'unavailable', expectedLast });
        else this.#fail(error);
      },
    );
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ended;
    this.#post({ type: 'started', last: await this.#last() });
    while (!signal.aborted) {
      for await (const next of this.#follower.steps(signal)) {
        await this.#take(next);
        if (this.#anew !== null) break;
      }
      const anew = this.#anew;
      if (anew === null) continue;
      this.#anew = null;
      const { why } = anew;
      if (why === 'diverged' && ++this.#rebuilds > MAX_REBUILDS)
        throw new OnebyteError(
          'REPLICA_DIVERGED',
          `this replica's state has differed from the others' ${this.#rebuilds} times, though it was built anew each time`,
          {
            remedy:
              'Run the worker elsewhere: the memory or the processor of this machine is not to be trusted.',
          },
        );
      this.#desk.abandon();
      this.#lose(0);
      // What it began from is not in the log: its start values are right all the same.
      if (anew.why === 'lost') await this.#desk.rewind(0);
      else await this.#desk.rebuild(anew.round, this.#follower.ledger.chain);
      this.#follower = new Follower(this.#ports.log, this.#clock);
      this.#post({ type: 'rebuilding', why, last: await this.#last() });
    }
  }

  /** Moves the state, then tells the machine. */
  async #take(next: Step): Promise<void> {
    const desk = this.#desk;
    if (next.type === 'ignored') {
      this.#post({ type: 'ignored', seq: next.seq });
      return;
    }
    if (next.type === 'lost') {
      this.#anew = { why: 'lost' };
      return;
    }
    if (next.type === 'rewound') {
      desk.abandon();
      this.#lose(next.ledger.round);
      await desk.rewind(next.ledger.records);
      this.#post({ type: 'truncated', seq: next.seq, ledger: next.ledger });
      return;
    }
    const { seq, record, before, ledger } = next;
    const moves = before.round !== ledger.round;
    if (moves) desk.abandon();
    const own = speaksOfState(record) ? await desk.digest(tagOf(before.roundChain)) : null;
    // The machine does nothing about the past but learn who is in, so the state may follow in bulk.
    if (seq < (this.#state.target ?? 0)) await desk.commitLater(next);
    else await desk.commit(next, moves);
    const compared = await desk.compare(ledger.chain);
    if (compared !== null) this.#post({ type: 'compared', ...compared });
    if (moves && seq > (this.#state.target ?? seq)) this.#checkpoint(ledger, seq);
    this.#post({ type: 'entry', seq, record, ledger, own });
  }

  /** Keeps a snapshot of the state as it is now, where it is this member's turn. */
  #checkpoint(ledger: Ledger, seq: number): void {
    const { checkpoints } = this.#ports;
    if (checkpoints === undefined || this.#storing !== null || !checkpointDue(ledger, this.#state.self.id))
      return;
    const storing = { round: ledger.round, lost: false };
    this.#storing = storing;
    // Both are asked for before anything can move the state.
    const asked = Promise.all([this.#desk.snapshot(), this.#desk.digest(tagOf(ledger.roundChain))]);
    const stored = asked.then(async ([snapshot, digest]) => {
      const location = snapshot === null ? null : await checkpoints.store(snapshot, { ledger, seq });
      this.#storing = null;
      if (location !== null && !storing.lost)
        this.#post({ type: 'stored', record: { kind: 'checkpoint', round: ledger.round, digest, location } });
    });
    stored.catch((error: unknown) => this.#fail(error));
  }

  /** A snapshot of a later state than that of `round` is of none that the log will come to again. */
  #lose(round: number): void {
    if (this.#storing !== null && this.#storing.round > round) this.#storing.lost = true;
  }

  /** The log's last sequence, once it answers. */
  async #last(): Promise<number> {
    const { signal } = this.#ended;
    for (let pause = PAUSE; ; pause = Math.min(2 * pause, 16 * PAUSE)) {
      try {
        const last: LogEntry | null = await this.#ports.log.last();
        return last?.seq ?? 0;
      } catch (error) {
        if (!(error instanceof LogUnavailable) || signal.aborted) throw error;
        await sleep(this.#clock, pause, signal);
      }
    }
  }

  #fail(error: unknown): void {
    this.#stop();
    this.#finish.reject(error);
  }

  #stop(): void {
    this.#ended.abort(ABANDONED);
    this.#desk.abandon();
    this.#queue.length = 0;
    this.#timers.clear();
  }
}

/** Whether a record says something of the state that it finds, which is to be compared. */
function speaksOfState(record: JournalRecord): boolean {
  return (record.kind === 'round' && record.digest !== null) || record.kind === 'end';
}
