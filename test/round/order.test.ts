import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { type Event, TIMERS } from '../../worker/round/event.ts';
import { step } from '../../worker/round/machine.ts';
import { initialState, type MachineState } from '../../worker/round/state.ts';
import { scheduleOf } from '../simulation/schedule.ts';
import { World } from '../simulation/world.ts';

interface Lived {
  readonly self: MachineState['self'];
  readonly events: readonly Event[];
}

/** What happened to each process of some simulated runs with troubles. */
const lives: Lived[] = [];

before(async () => {
  for (let seed = 1; lives.length < 60; seed++) {
    const world = new World(scheduleOf(seed), null);
    const seen = new Map<string, Event[]>();
    world.trace = (id, event) => seen.set(id, [...(seen.get(id) ?? []), event]);
    while (!world.over && (await world.step()));
    for (const { id, driver } of world.processes) {
      lives.push({ self: driver.state.self, events: seen.get(id) ?? [] });
      driver.abort(new Error('over'));
    }
  }
});

const anyTimer = fc.constantFrom(...TIMERS).map((name): Event => ({ type: 'timer', name }));
const anyOutcome = fc
  .tuple(fc.constantFrom('appended', 'conflict', 'unavailable'), fc.nat(12))
  .map(([type, expectedLast]): Event => ({ type, expectedLast }));
const anyAsk = fc.constantFrom<Event>(
  { type: 'leave' },
  { type: 'cancel' },
  { type: 'started', last: 3 },
  { type: 'compared', round: 1, tensors: ['head.bias'] },
);
const extra = fc.oneof({ weight: 4, arbitrary: anyTimer }, { weight: 3, arbitrary: anyOutcome }, anyAsk);

/** A life in another order, partly lost and doubled, with timers and outcomes of appends thrown in. */
const anyLife = fc.record({
  life: fc.nat(),
  order: fc.array(fc.nat(), { minLength: 1, maxLength: 200 }),
  extras: fc.array(fc.tuple(fc.nat(), extra), { maxLength: 60 }),
  gaps: fc.array(fc.nat(3000), { minLength: 1, maxLength: 20 }),
});

function arranged({
  life,
  order,
  extras,
}: {
  life: number;
  order: number[];
  extras: [number, Event][];
}): Lived {
  const { self, events } = lives[life % lives.length]!;
  // Small numbers keep near to the order in which things happened; large ones go anywhere.
  const arrangedEvents = order.flatMap(
    (at, i) => events[(at % 3 === 0 ? at : i + (at % 3)) % events.length] ?? [],
  );
  for (const [at, event] of extras) arrangedEvents.splice(at % (arrangedEvents.length + 1), 0, event);
  return { self, events: arrangedEvents };
}

test('no order of events makes the machine throw, and what it does about each is bounded', () => {
  fc.assert(
    fc.property(anyLife, (choice) => {
      const { self, events } = arranged(choice);
      let state = initialState(self, { expected: 3, grace: 500 });
      let now = 0;
      for (const [i, event] of events.entries()) {
        now += choice.gaps[i % choice.gaps.length]!;
        const next = step(state, event, now);
        const members = next.state.ledger.members.length;
        assert.ok(next.effects.length <= 16 + 2 * members, `${next.effects.length} effects of ${event.type}`);
        state = next.state;
      }
    }),
    { numRuns: 400 },
  );
});

test('every record that the machine appends can follow the ledger that it gives with it', () => {
  fc.assert(
    fc.property(anyLife, (choice) => {
      const { self, events } = arranged(choice);
      let state = initialState(self, { expected: 3, grace: 500 });
      for (const [i, event] of events.entries()) {
        const next = step(state, event, i * 100);
        state = next.state;
        for (const effect of next.effects)
          if (effect.type === 'append') assert.doesNotThrow(() => sealRecord(effect.ledger, effect.record));
      }
    }),
    { numRuns: 400 },
  );
});

test('a step leaves its state as it was, and gives the same again', () => {
  fc.assert(
    fc.property(anyLife, (choice) => {
      const { self, events } = arranged(choice);
      let state = initialState(self, { expected: 3, grace: 500 });
      for (const [i, event] of events.entries()) {
        const copy = structuredClone(state);
        const next = step(state, event, i * 100);
        assert.deepEqual(state, copy);
        if (i % 7 === 0) assert.deepEqual(step(state, event, i * 100), next);
        state = next.state;
      }
    }),
    { numRuns: 25 },
  );
});
