import type { Client } from './client.ts';
import { type Clock, microTime, type Random } from './clock.ts';
import { AlreadyExists, NotFound } from './errors.ts';
import { apiVersionOf, type Event, events, type KubeObject, type Resource } from './object.ts';

export interface Occurrence {
  readonly type: 'Normal' | 'Warning';
  /** Why, one CamelCase word for programs, e.g. `WorkerPodCreated`. */
  readonly reason: string;
  /** What was done, one CamelCase word, e.g. `CreatePod`. */
  readonly action: string;
  /** For people; at most 1,024 characters are kept. */
  readonly note: string;
}

export interface RecorderOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly random: Random;
  /** E.g. `onebyte.dev/operator`. */
  readonly controller: string;
  /** E.g. the name of this pod. */
  readonly instance: string;
  /** Repeats within this time of each other count as one series. Default 6 minutes. */
  readonly seriesMs?: number;
  /** A series is written at most this often. Default 10 s. */
  readonly spacingMs?: number;
  /** Different events about one object at once; then one more every `refillMs`. Defaults 25 and 30 s. */
  readonly burst?: number;
  readonly refillMs?: number;
  /** Most different events remembered, and so most that can wait to be written. Default 1,000. */
  readonly memory?: number;
  readonly on?: { written?(): void; dropped?(why: 'rate' | 'memory' | 'error', error?: unknown): void };
}

interface Series {
  readonly object: Event;
  count: number;
  lastAt: number;
  /** Count that the API server has; 0 before the event is there. */
  written: number;
  /** When it may be written next. */
  dueAt: number;
}

interface Bucket {
  tokens: number;
  filledAt: number;
}

/**
 * Writes events of events.k8s.io/v1 behind the callers' backs: repeats become a series, each object has a budget, and
 * nothing here ever fails or holds up a reconcile.
 */
export class Recorder {
  readonly #options: RecorderOptions;
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, Bucket>();
  #pump: Promise<void> | undefined;
  #cancelWake = () => {};
  #isFlushing = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Notes that something happened to an object. */
  record<T extends KubeObject>(resource: Resource<T>, object: T, occurrence: Occurrence): void {
    const now = this.#options.clock.monotonic();
    const { type, reason, action, note } = occurrence;
    const about = object.metadata.uid ?? `${object.metadata.namespace}/${object.metadata.name}`;
    const key = JSON.stringify([about, type, reason, action, note]);
    this.#prune(now);
    const known = this.#series.get(key);
    if (known !== undefined) {
      known.count++;
      known.lastAt = now;
    } else {
      const why = this.#refusal(about, now);
      if (why !== undefined) {
        this.#options.on?.dropped?.(why);
        return;
      }
      const event = this.#eventFor(resource, object, occurrence);
      this.#series.set(key, { object: event, count: 1, lastAt: now, written: 0, dueAt: now });
    }
    this.#wake();
  }

  /** Writes what still waits, for a clean stop. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#wake();
    await this.#pump;
    this.#isFlushing = false;
  }

  #refusal(about: string, now: number): 'rate' | 'memory' | undefined {
    const { burst = 25, refillMs = 30_000, memory = 1_000 } = this.#options;
    if (this.#series.size >= memory) return 'memory';
    const bucket = this.#buckets.get(about) ?? { tokens: burst, filledAt: now };
    const gained = Math.floor((now - bucket.filledAt) / refillMs);
    bucket.tokens = Math.min(burst, bucket.tokens + gained);
    bucket.filledAt += gained * refillMs;
    this.#buckets.set(about, bucket);
    if (bucket.tokens === 0) return 'rate';
    bucket.tokens--;
    return undefined;
  }

  /** Forgets series that ended and are written, and budgets that are full again. */
  #prune(now: number): void {
    const { seriesMs = 360_000, burst = 25, refillMs = 30_000 } = this.#options;
    for (const [key, series] of this.#series) {
      if (now - series.lastAt > seriesMs && series.written === series.count) this.#series.delete(key);
    }
    for (const [about, bucket] of this.#buckets) {
      if (bucket.tokens + (now - bucket.filledAt) / refillMs >= burst + 1) this.#buckets.delete(about);
    }
  }

  #wake(): void {
    this.#cancelWake();
    this.#pump ??= this.#write().finally(() => {
      this.#pump = undefined;
      this.#sleepUntilDue();
    });
  }

  #sleepUntilDue(): void {
    const waiting = [...this.#series.values()].filter((series) => series.written < series.count);
    if (waiting.length === 0) return;
    const dueAt = Math.min(...waiting.map((series) => series.dueAt));
    this.#cancelWake = this.#options.clock.after(dueAt - this.#options.clock.monotonic(), () => this.#wake());
  }

  /** Writes every series that is due, oldest first, until none is. */
  async #write(): Promise<void> {
    const { clock, spacingMs = 10_000, on } = this.#options;
    for (;;) {
      const now = clock.monotonic();
      const isDue = (series: Series) =>
        series.written < series.count && (this.#isFlushing || series.dueAt <= now);
      const entry = [...this.#series].find(([, series]) => isDue(series));
      if (entry === undefined) return;
      const [key, series] = entry;
      const { count } = series;
      try {
        await this.#send(series, count);
        series.written = count;
        series.dueAt = clock.monotonic() + spacingMs;
        on?.written?.();
      } catch (error) {
        this.#series.delete(key);
        on?.dropped?.('error', error);
      }
    }
  }

  async #send(series: Series, count: number): Promise<void> {
    const { client } = this.#options;
    const lastObservedTime = this.#wallTime(series.lastAt);
    if (series.written > 0) {
      try {
        await client.patch(events, series.object.metadata, { series: { count, lastObservedTime } });
        return;
      } catch (error) {
        // Events are deleted after an hour; a series that outlives its own starts again.
        if (!(error instanceof NotFound)) throw error;
      }
    }
    const event = count > 1 ? { ...series.object, series: { count, lastObservedTime } } : series.object;
    await client.create(events, event).catch((error: unknown) => {
      // An earlier attempt whose answer was lost.
      if (!(error instanceof AlreadyExists)) throw error;
    });
  }

  #eventFor<T extends KubeObject>(resource: Resource<T>, object: T, occurrence: Occurrence): Event {
    const { clock, controller, instance, random } = this.#options;
    const { namespace = 'default', name, uid, resourceVersion } = object.metadata;
    const suffix = Math.floor(random() * 2 ** 48)
      .toString(16)
      .padStart(12, '0');
    return {
      metadata: { namespace, name: `${name.slice(0, 240)}.${suffix}` },
      eventTime: microTime(clock.now()),
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      type: occurrence.type,
      reason: occurrence.reason,
      action: occurrence.action,
      note: occurrence.note.slice(0, 1_024),
      regarding: {
        apiVersion: apiVersionOf(resource),
        kind: resource.kind,
        name,
        ...(object.metadata.namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
    };
  }

  #wallTime(monotonic: number): string {
    const { clock } = this.#options;
    return microTime(clock.now() - (clock.monotonic() - monotonic));
  }
}
