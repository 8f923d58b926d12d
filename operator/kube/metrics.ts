import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Controller, ControllerObserver } from './controller.ts';
import { Gone } from './errors.ts';
import type { QueueObserver, WorkQueue } from './queue.ts';
import type { ReflectorEvents } from './reflector.ts';
import { SilentWatch } from './reflector.ts';

const workBuckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const results = ['success', 'error', 'requeue_after', 'aborted'] as const;

/**
 * The runtime's metrics, under the names that controller-runtime made well known, so that existing dashboards and alerts
 * work. Made once per registry.
 */
export class KubeMetrics {
  readonly #reconciles;
  readonly #errors;
  readonly #terminal;
  readonly #panics;
  readonly #seconds;
  readonly #concurrency;
  readonly #active;
  readonly #queue;
  readonly #calls;
  readonly #callSeconds;
  readonly #reflector;
  readonly #objects;
  readonly #leader;
  readonly #events;
  readonly #collectors: (() => void)[] = [];

  constructor(registry: Registry) {
    const registers = [registry];
    const controller = ['controller'] as const;
    const queue = ['name', 'controller'] as const;
    const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
      new Counter({ name, help, labelNames: [...labelNames], registers });
    const gauge = <L extends string>(
      name: string,
      help: string,
      labelNames: readonly L[],
      collect?: () => void,
    ) => new Gauge({ name, help, labelNames: [...labelNames], registers, ...(collect && { collect }) });
    const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
      new Histogram({ name, help, labelNames: [...labelNames], buckets: workBuckets, registers });
    // The first gauge's collector brings every sampled value up to date before a scrape.
    const sample = () => {
      for (const collect of this.#collectors) collect();
    };

    this.#reconciles = counter('controller_runtime_reconcile_total', 'Reconcile passes, by result.', [
      'controller',
      'result',
    ]);
    this.#errors = counter(
      'controller_runtime_reconcile_errors_total',
      'Reconcile passes that failed.',
      controller,
    );
    this.#terminal = counter(
      'controller_runtime_terminal_reconcile_errors_total',
      'Failures that are not tried again.',
      controller,
    );
    this.#panics = counter(
      'controller_runtime_reconcile_panics_total',
      'Failures of our own code.',
      controller,
    );
    this.#seconds = histogram(
      'controller_runtime_reconcile_time_seconds',
      'Length of a reconcile pass.',
      controller,
    );
    this.#concurrency = gauge(
      'controller_runtime_max_concurrent_reconciles',
      'Passes allowed at once.',
      controller,
      sample,
    );
    this.#active = gauge('controller_runtime_active_workers', 'Passes under way.', controller);
    this.#queue = {
      depth: gauge('workqueue_depth', 'Keys that wait.', queue),
      adds: counter('workqueue_adds_total', 'Keys added.', queue),
      waited: histogram('workqueue_queue_duration_seconds', 'How long a key waited.', queue),
      worked: histogram('workqueue_work_duration_seconds', 'How long a key was worked on.', queue),
      retries: counter('workqueue_retries_total', 'Keys put back after a failure.', queue),
      unfinished: gauge('workqueue_unfinished_work_seconds', 'Sum of the ages of passes under way.', queue),
      longest: gauge(
        'workqueue_longest_running_processor_seconds',
        'Age of the oldest pass under way.',
        queue,
      ),
    };
    this.#calls = counter(
      'rest_client_requests_total',
      'Calls to the API server, by answer; <error>: none.',
      ['code', 'method'],
    );
    this.#callSeconds = histogram('rest_client_request_duration_seconds', 'Length of a call.', ['verb']);
    this.#reflector = {
      lists: counter('onebyte_reflector_lists_total', 'Complete lists taken in.', ['resource']),
      watches: counter('onebyte_reflector_watches_total', 'Watches opened.', ['resource']),
      failures: counter('onebyte_reflector_failures_total', 'Lists and watches that failed.', [
        'resource',
        'reason',
      ]),
    };
    this.#objects = gauge('onebyte_store_objects', 'Objects held in memory.', ['resource']);
    this.#leader = gauge('leader_election_master_status', '1 while this process leads.', ['name']);
    this.#events = counter('onebyte_events_total', 'Events, by what became of them.', ['outcome']);
  }

  /** For `ClientOptions.onAttempt`. */
  readonly onAttempt = (method: string, status: number, seconds: number): void => {
    this.#calls.inc({ code: status === 0 ? '<error>' : String(status), method });
    this.#callSeconds.observe({ verb: method }, seconds);
  };

  queueObserver(name: string): QueueObserver {
    const labels = { name, controller: name };
    const { adds, retries, waited, worked } = this.#queue;
    adds.inc(labels, 0);
    retries.inc(labels, 0);
    return {
      added: () => adds.inc(labels),
      retried: () => retries.inc(labels),
      taken: (seconds) => waited.observe(labels, seconds),
      done: (seconds) => worked.observe(labels, seconds),
    };
  }

  controllerObserver(name: string): ControllerObserver {
    const labels = { controller: name };
    for (const result of results) this.#reconciles.inc({ controller: name, result }, 0);
    for (const counter of [this.#errors, this.#terminal, this.#panics]) counter.inc(labels, 0);
    return {
      ended: (_key, _pass, result, seconds) => {
        this.#reconciles.inc({ controller: name, result });
        this.#seconds.observe(labels, seconds);
      },
      failed: (_key, _pass, _error, kind) => {
        this.#errors.inc(labels);
        if (kind === 'terminal') this.#terminal.inc(labels);
        if (kind === 'panic') this.#panics.inc(labels);
      },
    };
  }

  /** Reads a controller and its queue at every scrape. */
  sampleController(name: string, controller: Controller, queue: WorkQueue): void {
    const labels = { name, controller: name };
    this.#collectors.push(() => {
      const unfinished = queue.unfinished;
      this.#concurrency.set({ controller: name }, controller.concurrency);
      this.#active.set({ controller: name }, controller.active);
      this.#queue.depth.set(labels, queue.depth);
      this.#queue.unfinished.set(
        labels,
        unfinished.reduce((sum, age) => sum + age, 0),
      );
      this.#queue.longest.set(labels, Math.max(0, ...unfinished));
    });
  }

  reflectorEvents(resource: string): ReflectorEvents {
    const { lists, watches, failures } = this.#reflector;
    lists.inc({ resource }, 0);
    return {
      listed: () => lists.inc({ resource }),
      watching: () => watches.inc({ resource }),
      failed: (error) => failures.inc({ resource, reason: failureReason(error) }),
    };
  }

  /** Reads how many objects a store holds at every scrape. */
  sampleStore(resource: string, size: () => number): void {
    this.#collectors.push(() => this.#objects.set({ resource }, size()));
  }

  /** Reads whether this process leads at every scrape. */
  sampleLeader(name: string, isLeading: () => boolean): void {
    this.#collectors.push(() => this.#leader.set({ name }, isLeading() ? 1 : 0));
  }

  readonly events = {
    written: (): void => this.#events.inc({ outcome: 'written' }),
    dropped: (why: string): void => this.#events.inc({ outcome: `dropped_${why}` }),
  };
}

function failureReason(error: unknown): string {
  if (error instanceof Gone) return 'gone';
  if (error instanceof SilentWatch) return 'silent';
  return error instanceof Error ? error.name : 'unknown';
}
