import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { WorkQueue } from '../../../operator/kube/queue.ts';
import { VirtualClock } from './virtual-clock.ts';

const key = fc.constantFrom('a', 'b', 'c');
const step = fc.oneof(
  fc.record({ do: fc.constant('add' as const), key }),
  fc.record({ do: fc.constant('after' as const), key, ms: fc.integer({ min: 0, max: 100 }) }),
  fc.record({ do: fc.constant('retry' as const), key }),
  fc.record({ do: fc.constant('take' as const) }),
  fc.record({ do: fc.constant('done' as const), which: fc.nat() }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 60 }) }),
);

describe('WorkQueue', () => {
  test('a key is never given out twice at once, and no addition is lost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const clock = new VirtualClock();
        const queue = new WorkQueue({ clock });
        const working: string[] = [];
        let twice = 0;
        // Keys added since they were last taken: each must still come out.
        const owed = new Set<string>();
        // Additions less times given out: a delay and an addition may each bring a key out, but nothing else may.
        const credit = new Map<string, number>();
        const take = async () => {
          void queue.take().then((taken) => {
            if (taken === undefined) return;
            if (working.includes(taken)) twice++;
            credit.set(taken, (credit.get(taken) ?? 0) - 1);
            owed.delete(taken);
            working.push(taken);
          });
          await clock.advance(0);
        };
        for (const s of steps) {
          if (s.do === 'add') queue.add(s.key);
          if (s.do === 'after') queue.addAfter(s.key, s.ms);
          if (s.do === 'retry') queue.retry(s.key);
          if (s.do === 'add' || s.do === 'after' || s.do === 'retry') {
            owed.add(s.key);
            credit.set(s.key, (credit.get(s.key) ?? 0) + 1);
          }
          if (s.do === 'take') await take();
          if (s.do === 'done' && working.length > 0)
            queue.done(working.splice(s.which % working.length, 1)[0]!);
          await clock.advance(s.do === 'advance' ? s.ms : 0);
        }
        // All delays end, all work is done: everything owed comes out.
        for (const other of working.splice(0)) queue.done(other);
        await clock.advance(1e9);
        for (let n = 0; n < 6; n++) {
          await take();
          for (const other of working.splice(0)) queue.done(other);
        }
        assert.equal(twice, 0);
        assert.deepEqual([...owed], []);
        assert.ok([...credit.values()].every((left) => left >= 0));
        assert.equal(queue.depth, 0);
      }),
      { numRuns: 300 },
    );
  });

  test('keys come out in the order in which they were added', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.string(), { maxLength: 20 }), async (keys) => {
        const queue = new WorkQueue({ clock: new VirtualClock() });
        for (const k of [...keys, ...keys]) queue.add(k);
        const out: (string | undefined)[] = [];
        while (queue.depth > 0) out.push(await queue.take());
        assert.deepEqual(out, keys);
      }),
    );
  });

  test('failures in a row double the delay up to its bound, and are forgotten on request', async () => {
    const clock = new VirtualClock();
    const queue = new WorkQueue({ clock, firstDelayMs: 10, longestDelayMs: 100 });
    const delays: number[] = [];
    const measure = async () => {
      const before = clock.monotonic();
      queue.retry('k');
      const taken = queue.take();
      while (queue.unfinished.length === 0) await clock.advance(1);
      delays.push(clock.monotonic() - before);
      queue.done((await taken)!);
    };
    for (let n = 0; n < 6; n++) await measure();
    assert.deepEqual(delays, [10, 20, 40, 80, 100, 100]);
    queue.forget('k');
    await measure();
    assert.equal(delays.at(-1), 10);
  });

  test('of several delays the one that ends first holds', async () => {
    const clock = new VirtualClock();
    const queue = new WorkQueue({ clock });
    queue.addAfter('k', 50);
    queue.addAfter('k', 20);
    queue.addAfter('k', 90);
    await clock.advance(19);
    assert.equal(queue.depth, 0);
    await clock.advance(1);
    assert.equal(queue.depth, 1);
    assert.equal(clock.waiting, 0);
  });

  test('a shut queue releases who waits, keeps no timer and gives nothing out', async () => {
    const clock = new VirtualClock();
    const queue = new WorkQueue({ clock });
    const waiting = queue.take();
    queue.addAfter('k', 50);
    queue.shut();
    queue.add('k');
    assert.equal(await waiting, undefined);
    assert.equal(await queue.take(), undefined);
    assert.equal(clock.waiting, 0);
  });
});
