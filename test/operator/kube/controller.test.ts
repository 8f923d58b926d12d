import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Registry } from 'prom-client';
import { realClock } from '../../../operator/kube/clock.ts';
import { Controller, type Reconcile, TerminalError } from '../../../operator/kube/controller.ts';
import { KubeMetrics } from '../../../operator/kube/metrics.ts';
import { WorkQueue } from '../../../operator/kube/queue.ts';
import { VirtualClock } from './virtual-clock.ts';

function setUp(reconcile: Reconcile, concurrency = 1) {
  const clock = new VirtualClock();
  const registry = new Registry();
  const metrics = new KubeMetrics(registry);
  const queue = new WorkQueue({ clock, observer: metrics.queueObserver('jobs') });
  const observer = metrics.controllerObserver('jobs');
  const controller = new Controller({
    queue,
    reconcile,
    clock,
    concurrency,
    observer,
    passMs: 1_000,
    graceMs: 100,
  });
  metrics.sampleController('jobs', controller, queue);
  const stop = new AbortController();
  const running = controller.run(stop.signal);
  return { clock, queue, registry, stop, running };
}

async function metricOf(registry: Registry, line: string): Promise<number> {
  const found = (await registry.metrics()).split('\n').find((other) => other.startsWith(`${line} `));
  assert.ok(found, `no metric ${line}`);
  return Number(found.slice(line.length + 1));
}

describe('Controller', () => {
  test('a pass that throws is tried again with back-off until it succeeds', async () => {
    const at: number[] = [];
    const { clock, queue, registry, stop, running } = setUp(async () => {
      at.push(clock.monotonic());
      if (at.length < 4) throw new Error('not yet');
    });
    queue.add('a/b');
    await clock.advance(1_000);
    assert.deepEqual(at, [0, 5, 15, 35]);
    assert.equal(queue.failures('a/b'), 0);
    assert.equal(await metricOf(registry, 'controller_runtime_reconcile_errors_total{controller="jobs"}'), 3);
    assert.equal(await metricOf(registry, 'workqueue_retries_total{name="jobs",controller="jobs"}'), 3);
    stop.abort();
    await running;
  });

  test('a programming error in one pass is contained, counted and does not stop others', async () => {
    const done: string[] = [];
    const { clock, queue, registry, stop, running } = setUp((key) => {
      // Thrown before any promise exists, as a real mistake would be.
      if (key === 'bad') return (undefined as unknown as { missing(): Promise<undefined> }).missing();
      done.push(key);
      return Promise.resolve(undefined);
    });
    queue.add('bad');
    queue.add('good');
    await clock.advance(1);
    assert.deepEqual(done, ['good']);
    assert.equal(await metricOf(registry, 'controller_runtime_reconcile_panics_total{controller="jobs"}'), 1);
    stop.abort();
    await running;
  });

  test('a terminal error is not tried again', async () => {
    let passes = 0;
    const { clock, queue, registry, stop, running } = setUp(async () => {
      passes++;
      throw new TerminalError('the spec cannot work');
    });
    queue.add('a');
    await clock.advance(10_000_000);
    assert.equal(passes, 1);
    assert.equal(
      await metricOf(registry, 'controller_runtime_terminal_reconcile_errors_total{controller="jobs"}'),
      1,
    );
    stop.abort();
    await running;
  });

  test('as many keys at once as allowed, and a key asked for again comes back when asked', async () => {
    let active = 0;
    let most = 0;
    const passes: string[] = [];
    const { clock, queue, registry, stop, running } = setUp(async (key) => {
      most = Math.max(most, ++active);
      passes.push(key);
      await clock.sleep(10);
      active--;
      return key === '0' ? { requeueAfterMs: 5_000 } : undefined;
    }, 3);
    for (let n = 0; n < 10; n++) queue.add(String(n));
    await clock.advance(5);
    assert.equal(await metricOf(registry, 'controller_runtime_active_workers{controller="jobs"}'), 3);
    assert.equal(await metricOf(registry, 'workqueue_depth{name="jobs",controller="jobs"}'), 7);
    await clock.advance(100);
    assert.equal(most, 3);
    assert.equal(passes.length, 10);
    await clock.advance(4_900);
    assert.equal(passes.length, 10);
    await clock.advance(100);
    assert.deepEqual(passes.slice(10), ['0']);
    stop.abort();
    await clock.advance(100);
    await running;
  });

  test('a stop lets a pass under way end, but only for the grace time', async () => {
    const ends: string[] = [];
    const { clock, queue, stop, running } = setUp(async (key, { signal }) => {
      await clock.sleep(key === 'quick' ? 50 : 500, signal);
      ends.push(`${key} ${signal.aborted ? 'told to end' : 'ended'} at ${clock.monotonic()}`);
    }, 2);
    queue.add('quick');
    queue.add('slow');
    queue.add('never');
    await clock.advance(0);
    stop.abort();
    await clock.advance(1_000);
    await running;
    assert.deepEqual(ends, ['quick ended at 50', 'slow told to end at 100']);
  });

  test('a pass that takes too long is told to end, and the key is tried again', async () => {
    let passes = 0;
    const { clock, queue, stop, running } = setUp(async (_key, { signal }) => {
      if (++passes > 1) return;
      await clock.sleep(1e9, signal);
      throw new Error('told to end');
    });
    queue.add('a');
    await clock.advance(2_000);
    assert.equal(passes, 2);
    stop.abort();
    await running;
  });

  test('it works with real time too', async () => {
    const queue = new WorkQueue({ clock: realClock });
    const seen: string[] = [];
    const controller = new Controller({
      queue,
      clock: realClock,
      reconcile: async (key) => {
        seen.push(key);
        if (seen.length === 2) stop.abort();
        return { requeueAfterMs: 1 };
      },
    });
    const stop = new AbortController();
    queue.add('a');
    await controller.run(stop.signal);
    assert.deepEqual(seen, ['a', 'a']);
  });
});
