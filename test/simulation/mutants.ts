import type { JournalRecord } from '../../worker/journal/record.ts';
import type { AppendOptions } from '../../worker/log/log.ts';
import type { Scheduler } from '../../worker/log/virtual-time.ts';
import type { Replica } from '../../worker/replica/replica.ts';
import type { Effect, Event } from '../../worker/round/event.ts';
import { step } from '../../worker/round/machine.ts';

/** Mistakes that the simulator must find, each put in by wrapping a part. */
export const MUTANTS = {
  'apply twice': 'now and then a replica applies an update twice',
  'ignore expectedLast': 'the log appends whatever it is asked to',
  'forget rewind': 'a replica does not take back what the log has lost',
  'wrong proposer': "a member puts another attempt's number into its record",
  'wrong addressee': "a member sends its bytes to the next attempt's proposer",
  'stale bytes': 'a proposer takes bytes that were measured at an earlier state',
  'changed bytes': 'a proposer changes the bytes of others',
  'no second attempt': 'a member waits for a lost proposer for ever',
  'no second look': 'a member waits for ever for work that it gave up when the log lost its tail',
} as const;
export type Mutant = keyof typeof MUTANTS;

/** The parts of a worker in which a mutant may sit. */
export interface Faulty {
  commit(replica: Replica, record: JournalRecord, body: Uint8Array): void;
  rewind(replica: Replica, records: number): void;
  options(options: AppendOptions, last: number): AppendOptions;
  readonly step: typeof step;
}

export function faulty(mutant: Mutant | null, scheduler: Scheduler): Faulty {
  return {
    commit(replica, record, body) {
      if (mutant !== 'apply twice' || record.kind !== 'round' || scheduler.random() > 0.1) {
        replica.commit(record, body);
        return;
      }
      const { store } = replica;
      const before = store.tensors.map((_, i) => store.view(i).slice());
      replica.commit(record, body);
      for (const [i, values] of before.entries()) {
        const view = store.view(i);
        for (let k = 0; k < view.length; k++) view[k]! += view[k]! - values[k]!;
      }
    },
    rewind(replica, records) {
      if (mutant !== 'forget rewind') {
        replica.rewind(records);
        return;
      }
      const { store } = replica;
      const kept = store.tensors.map((_, i) => store.view(i).slice());
      replica.rewind(records);
      for (const [i, values] of kept.entries()) store.set(i, values);
    },
    options: (options, last) =>
      mutant === 'ignore expectedLast' ? { ...options, expectedLast: last } : options,
    step: (state, event, now) => {
      const changed = mutant === 'stale bytes' ? staleBytes(event, state.ballot) : event;
      const next = step(state, changed, now);
      if (mutant === 'no second look' && event.type === 'truncated' && state.ballot?.working === true)
        return { ...next, effects: next.effects.filter(({ type }) => type !== 'probe') };
      return { ...next, effects: next.effects.flatMap((effect) => wrong(mutant, effect, next.state)) };
    },
  };
}

type State = Parameters<typeof step>[0];

function staleBytes(event: Event, ballot: State['ballot']): Event {
  if (event.type !== 'message' || event.message.kind !== 'proposal' || ballot === null) return event;
  return { ...event, message: { ...event.message, tag: ballot.tag, round: ballot.round } };
}

function wrong(mutant: Mutant | null, effect: Effect, { ballot, self }: State): Effect[] {
  if (effect.type === 'append' && effect.record.kind === 'round') {
    const { record } = effect;
    if (mutant === 'wrong proposer')
      return [{ ...effect, record: { ...record, attempt: record.attempt + 1 } }];
    if (mutant === 'changed bytes')
      return [
        { ...effect, record: { ...record, bytes: record.bytes.map((own) => own.map((byte) => byte ^ 1)) } },
      ];
  }
  if (effect.type === 'send' && mutant === 'wrong addressee' && ballot !== null) {
    const { members } = ballot;
    const to = members[(members.findIndex(({ id }) => id === effect.to) + 1) % members.length];
    return to === undefined || to.id === self.id ? [] : [{ ...effect, to: to.id }];
  }
  if (mutant === 'no second attempt' && effect.type === 'setTimer' && effect.name === 'attempt') return [];
  return [effect];
}
