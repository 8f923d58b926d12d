import type { CallOptions, Client } from './client.ts';
import { type Clock, microTime, type Random } from './clock.ts';
import { AlreadyExists, Conflict, NotFound } from './errors.ts';
import { type Lease, leases } from './object.ts';

export interface LeaseTimes {
  /** How long others wait after the last sign of life. Default 15 s. */
  readonly leaseMs: number;
  /** How long the holder goes on without a successful renewal. Default 10 s. */
  readonly renewMs: number;
  /** Time between tries, to renew or to acquire. Default 2 s. */
  readonly retryMs: number;
}

export interface ElectorOptions extends Partial<LeaseTimes> {
  /** Must not be guarded by this elector. */
  readonly client: Client;
  readonly clock: Clock;
  readonly random: Random;
  readonly namespace: string;
  readonly name: string;
  /** Unique to this process. */
  readonly identity: string;
  /** Whether a holder is known to have ended without a word, as an earlier process of the same pod has: its lease is free. */
  readonly hasEnded?: (holder: string) => boolean;
  readonly on?: {
    /** Somebody holds the lease now; undefined: nobody. */
    holder?(identity: string | undefined): void;
    failed?(error: unknown): void;
  };
}

/** The lease was lost while leading; the process should end, for its state may be behind. */
export class LeadershipLost extends Error {
  override readonly name = 'LeadershipLost';
}

/** What a leader does, until the signal is aborted; the lease is released only after it has returned. */
export type Lead = (signal: AbortSignal) => Promise<void>;

// The loop around it tries again; and a busy operator's other calls must not hold up its lease.
const once = { attempts: 1, isUrgent: true } as const;

type Spec = NonNullable<Lease['spec']>;

/** What an elector remembers of the lease between two looks. */
export interface Observation {
  readonly resourceVersion: string;
  /** Our own monotonic clock when we first saw this version. */
  readonly seenAt: number;
}

/**
 * How long until a lease may be taken, in milliseconds of our own clock; 0: now. Its holder's timestamps are not looked
 * at: what counts is how long ago we saw it change, so clocks may differ by hours. (As in client-go's elector.)
 */
export function waitFor(
  spec: Spec,
  seen: Observation,
  now: number,
  identity: string,
  leaseMs: number,
): number {
  if (!spec.holderIdentity || spec.holderIdentity === identity) return 0;
  const termMs = spec.leaseDurationSeconds ? spec.leaseDurationSeconds * 1_000 : leaseMs;
  return Math.max(0, seen.seenAt + termMs - now);
}

/**
 * Elects one leader by a Lease. This is no fence: a leader that was paused may act a moment longer than it should, which
 * is why `isLeading` goes by the clock, changes are guarded by it, and every change is safe to make twice.
 */
export class Elector {
  readonly #options: ElectorOptions;
  readonly #times: LeaseTimes;
  #seen: Observation | undefined;
  #holder: string | undefined;
  #lease: Lease | undefined;
  /** When the last renewal that succeeded was sent. */
  #renewedAt: number | undefined;

  constructor(options: ElectorOptions) {
    this.#options = options;
    const { leaseMs = 15_000, renewMs = 10_000, retryMs = 2_000 } = options;
    if (!(leaseMs > renewMs && renewMs > retryMs * 1.2)) {
      throw new Error(`lease: need leaseMs > renewMs > 1.2 retryMs, not ${leaseMs}, ${renewMs}, ${retryMs}`);
    }
    this.#times = { leaseMs, renewMs, retryMs };
  }

  /** Whether this process may act as the leader at this very moment. */
  get isLeading(): boolean {
    const { clock } = this.#options;
    return this.#renewedAt !== undefined && clock.monotonic() < this.#renewedAt + this.#times.renewMs;
  }

  /** Who held the lease at the last look. */
  get holder(): string | undefined {
    return this.#holder;
  }

  /**
   * Waits for the lease, then leads. An abort ends the work first, renewing all the while so that nobody else starts too
   * early, then releases. Throws LeadershipLost when the lease could not be kept.
   */
  async run(signal: AbortSignal, lead: Lead): Promise<void> {
    if (!(await this.#acquire(signal))) return;
    const work = new AbortController();
    const ended = new AbortController();
    const stop = () => work.abort();
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    const leading = lead(work.signal).finally(() => ended.abort());
    // Awaited below; until then a failure must not count as one that nobody handles.
    leading.catch(() => undefined);
    const isKept = await this.#keep(ended.signal);
    work.abort();
    try {
      await leading;
    } finally {
      signal.removeEventListener('abort', stop);
      if (isKept) await this.#release();
      this.#renewedAt = undefined;
    }
    if (!isKept)
      throw new LeadershipLost(`lease ${this.#options.name}: taken, deleted or not renewed in time`);
  }

  /** Tries until the lease is ours (true) or the signal is aborted. */
  async #acquire(signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const wait = await this.#try(signal);
      if (wait === undefined) return true;
      // Not longer than until the lease ends, so that a fail-over takes no extra round of waiting.
      if (!signal.aborted) await clock.sleep(Math.min(this.#retryDelay(), Math.max(wait, 50)), signal);
    }
    return false;
  }

  /** Renews until the work has ended (true) or the lease must be given up (false). */
  async #keep(ended: AbortSignal): Promise<boolean> {
    while (!ended.aborted) {
      await this.#options.clock.sleep(this.#times.retryMs, ended);
      if (!ended.aborted && !(await this.#renew())) return false;
    }
    return true;
  }

  /** One renewal; false when the lease is lost for certain or may be taken by others soon. */
  async #renew(): Promise<boolean> {
    const { clock, on } = this.#options;
    for (;;) {
      const left = this.#renewedAt! + this.#times.renewMs - clock.monotonic();
      if (left <= 0) return false;
      try {
        await this.#write({ renewTime: microTime(clock.now()) }, Math.min(left, 5_000));
        return true;
      } catch (error) {
        on?.failed?.(error);
        // Changed by somebody: lost if it now belongs to another, else only our copy was old.
        if (error instanceof Conflict || error instanceof NotFound) {
          const isOurs = await this.#look(Math.min(left, 5_000)).catch(() => undefined);
          if (isOurs === false) return false;
          if (isOurs === true) continue;
        }
      }
      await clock.sleep(Math.min(this.#times.retryMs, Math.max(0, left)));
    }
  }

  /** Reads the lease again while leading; whether it is still ours. */
  async #look(timeoutMs: number): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    try {
      this.#observe(await client.get(leases, { namespace, name }, { timeoutMs, ...once }));
    } catch (error) {
      if (error instanceof NotFound) return false;
      throw error;
    }
    return this.#lease?.spec?.holderIdentity === identity;
  }

  /** One try to acquire: undefined when it is ours, else how long the present holder has it at most. */
  async #try(signal: AbortSignal): Promise<number | undefined> {
    const { client, clock, namespace, name, identity, hasEnded, on } = this.#options;
    const limits = { ...once, timeoutMs: 5_000, signal };
    try {
      const sentAt = clock.monotonic();
      const lease = await client.get(leases, { namespace, name }, limits).catch(async (error: unknown) => {
        if (!(error instanceof NotFound)) throw error;
        return this.#create(limits, sentAt);
      });
      if (lease === undefined) return undefined;
      this.#observe(lease);
      const spec = lease.spec ?? {};
      const wait = waitFor(spec, this.#seen!, clock.monotonic(), identity, this.#times.leaseMs);
      if (wait > 0 && !hasEnded?.(spec.holderIdentity ?? '')) return wait;
      await this.#take(lease);
      return undefined;
    } catch (error) {
      if (!signal.aborted && !(error instanceof Conflict || error instanceof AlreadyExists))
        on?.failed?.(error);
      return this.#times.retryMs;
    }
  }

  async #create(limits: CallOptions, sentAt: number): Promise<undefined> {
    const { client, namespace, name } = this.#options;
    const metadata = { namespace, name };
    this.#observe(
      await client.create(leases, { metadata, spec: { ...this.#claim(), leaseTransitions: 0 } }, limits),
    );
    this.#renewedAt = sentAt;
  }

  async #take(lease: Lease): Promise<void> {
    const { identity } = this.#options;
    const before = lease.spec ?? {};
    const isNew = before.holderIdentity !== identity;
    const leaseTransitions = (before.leaseTransitions ?? 0) + (isNew ? 1 : 0);
    await this.#write({ ...this.#claim(), leaseTransitions }, 5_000);
  }

  #claim(): Spec {
    const { clock, identity } = this.#options;
    const time = microTime(clock.now());
    const leaseDurationSeconds = Math.ceil(this.#times.leaseMs / 1_000);
    return { holderIdentity: identity, leaseDurationSeconds, acquireTime: time, renewTime: time };
  }

  /** Writes the lease as we last saw it, with changes; Conflict when it is not that any more. */
  async #write(change: Spec, timeoutMs: number): Promise<void> {
    const { client, clock } = this.#options;
    const sentAt = clock.monotonic();
    const lease = { ...this.#lease!, spec: { ...this.#lease!.spec, ...change } };
    this.#observe(await client.update(leases, lease, { timeoutMs, ...once }));
    this.#renewedAt = sentAt;
  }

  /** Lets the next one start at once. */
  async #release(): Promise<void> {
    const { clock, on } = this.#options;
    this.#renewedAt = undefined;
    try {
      await this.#write(
        { holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(clock.now()) },
        2_000,
      );
    } catch (error) {
      on?.failed?.(error);
    }
    this.#renewedAt = undefined;
  }

  #observe(lease: Lease): void {
    const resourceVersion = lease.metadata.resourceVersion ?? '';
    if (this.#seen?.resourceVersion !== resourceVersion) {
      this.#seen = { resourceVersion, seenAt: this.#options.clock.monotonic() };
    }
    this.#lease = lease;
    const holder = lease.spec?.holderIdentity || undefined;
    if (holder !== this.#holder) this.#options.on?.holder?.(holder);
    this.#holder = holder;
  }

  #retryDelay(): number {
    return this.#times.retryMs * (1 + 0.2 * this.#options.random());
  }
}
