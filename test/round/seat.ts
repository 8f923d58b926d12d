import type { Ledger } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';
import type { Effect, Event, TimerName } from '../../worker/round/event.ts';
import { step } from '../../worker/round/machine.ts';
import { type Message, type Proposal, tagOf } from '../../worker/round/messages.ts';
import { initialState, type MachineOptions, type MachineState } from '../../worker/round/state.ts';
import { joinOf, put } from '../journal/fixture.ts';

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>;

/** One member's machine, fed by hand. */
export class Seat {
  readonly id: string;
  state: MachineState;
  now = 0;
  /** Of the last event. */
  effects: readonly Effect[] = [];

  constructor(n: number, options: Partial<MachineOptions> = {}) {
    this.state = initialState(joinOf(n), options);
    this.id = this.state.self.id;
  }

  feed(event: Event, after = 1): this {
    this.now += after;
    const next = step(this.state, event, this.now);
    this.state = next.state;
    this.effects = next.effects;
    return this;
  }

  /** A member that has followed the log to `ledger` and takes part. */
  static at(n: number, ledger: Ledger, options: Partial<MachineOptions> = {}): Seat {
    const seat = new Seat(n, options);
    seat.state = { ...seat.state, seq: ledger.records - 1, run: RUN };
    const record: JournalRecord = ledger.genesis!;
    seat.feed({ type: 'started', last: ledger.records });
    // The record's kind matters only to what was open before it: nothing was.
    seat.feed({ type: 'entry', seq: ledger.records, record: { ...record }, ledger, own: null });
    seat.state = { ...seat.state, run: RUN };
    return seat;
  }

  follow(record: JournalRecord, own: string | null = null): this {
    const ledger = put(this.state.ledger, record);
    return this.feed({ type: 'entry', seq: this.state.seq + 1, record, ledger, own });
  }

  timer(name: TimerName): this {
    return this.feed({ type: 'timer', name });
  }

  hear(from: string, message: Message): this {
    return this.feed({ type: 'message', from, message });
  }

  probed(...bytes: number[]): this {
    return this.probedOnce(0, ...bytes);
  }

  /** @param frozenSeconds of what it took, what the next probes do not take again */
  probedOnce(frozenSeconds: number, ...bytes: number[]): this {
    const { ballot } = this.state;
    const { slot } = ballot!.members[ballot!.index]!;
    return this.feed({
      type: 'probed',
      tag: ballot!.tag,
      slot,
      bytes: Uint8Array.from(bytes),
      lossSum: 2,
      lossCount: 4,
      frozenSeconds,
    });
  }

  of<T extends Effect['type']>(type: T): Of<T>[] {
    return this.effects.filter((effect): effect is Of<T> => effect.type === type);
  }

  get appended(): JournalRecord | undefined {
    return this.of('append')[0]?.record;
  }

  get timers(): string[] {
    return this.of('setTimer').map(({ name }) => name);
  }
}

export const RUN = '00112233445566ff';

/** What the member in `slot` would send for the ledger's next round. */
export function proposalOf(ledger: Ledger, slot: number, bytes: readonly number[], attempt = 0): Proposal {
  return {
    kind: 'proposal',
    round: ledger.round,
    tag: tagOf(ledger.roundChain),
    slot,
    attempt,
    bytes: Uint8Array.from(bytes),
    lossSum: 2,
    lossCount: 4,
    evaluations: [],
  };
}
