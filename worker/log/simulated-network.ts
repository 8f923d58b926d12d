import type { Scheduler } from './virtual-time.ts';

/** What may happen to a message on one directed link. */
export interface Faults {
  /** Probability that a message is lost. */
  readonly drop: number;
  /** Probability that a message arrives twice. */
  readonly duplicate: number;
  /** Bounds of the uniform delay, in milliseconds. */
  readonly delay: readonly [min: number, max: number];
  /** Whether a message may overtake an earlier one. */
  readonly reorder: boolean;
  /** Nothing passes. */
  readonly cut: boolean;
}

export const HEALTHY: Faults = { drop: 0, duplicate: 0, delay: [1, 5], reorder: false, cut: false };

/** Time after which a reliable link tries again to get something across a cut, in milliseconds. */
const RETRY_MS = 50;

/**
 * Directed links between named nodes (members, and the log under its name), with faults that can be switched at any
 * moment. `deliver` is a datagram; `deliverReliably` a connection that outlives cuts and losses.
 */
export class SimulatedNetwork {
  readonly scheduler: Scheduler;
  /** Faults of every link that has none of its own. */
  faults: Faults;
  readonly #links = new Map<string, Faults>();
  readonly #lastArrival = new Map<string, number>();

  constructor(scheduler: Scheduler, faults: Faults = HEALTHY) {
    this.scheduler = scheduler;
    this.faults = faults;
  }

  link(from: string, to: string): Faults {
    return this.#links.get(`${from}\n${to}`) ?? this.faults;
  }

  /** Changes one direction of one link; null: back to the network's own faults. */
  set(from: string, to: string, changes: Partial<Faults> | null): void {
    if (changes === null) this.#links.delete(`${from}\n${to}`);
    else this.#links.set(`${from}\n${to}`, { ...this.link(from, to), ...changes });
  }

  /** Cuts every link between the two sides, in both directions. */
  partition(side: readonly string[], other: readonly string[]): void {
    for (const a of side)
      for (const b of other) {
        this.set(a, b, { cut: true });
        this.set(b, a, { cut: true });
      }
  }

  /** Ends every link's own faults; what is on its way stays so. */
  heal(): void {
    this.#links.clear();
  }

  /** Runs `arrive` at the other end: never, once or twice, as the link's faults say. */
  deliver(from: string, to: string, arrive: () => void): void {
    const faults = this.link(from, to);
    const { scheduler } = this;
    if (faults.cut || (faults.drop > 0 && scheduler.random() < faults.drop)) return;
    scheduler.at(this.#delay(from, to, faults), arrive);
    if (faults.duplicate > 0 && scheduler.random() < faults.duplicate)
      scheduler.at(this.#delay(from, to, faults), arrive);
  }

  /** Runs `arrive` exactly once, as soon as the link lets it. */
  deliverReliably(from: string, to: string, arrive: () => void): void {
    const faults = this.link(from, to);
    this.scheduler.at(this.#delay(from, to, faults), () => {
      const now = this.link(from, to);
      const lost = now.cut || (now.drop > 0 && this.scheduler.random() < now.drop);
      if (lost) this.scheduler.at(RETRY_MS, () => this.deliverReliably(from, to, arrive));
      else arrive();
    });
  }

  #delay(from: string, to: string, faults: Faults): number {
    const [min, max] = faults.delay;
    const delay = min + (max - min) * this.scheduler.random();
    if (faults.reorder) return delay;
    const key = `${from}\n${to}`;
    const arrival = Math.max(this.scheduler.now + delay, this.#lastArrival.get(key) ?? 0);
    this.#lastArrival.set(key, arrival);
    return arrival - this.scheduler.now;
  }
}
