import type { Clock } from './clock.ts';

/** Timers by name: setting one again replaces it. */
export class Timers<Name> {
  readonly #clock: Clock;
  readonly #onTime: (name: Name) => void;
  readonly #running = new Map<Name, { cancel: () => void }>();

  constructor(clock: Clock, onTime: (name: Name) => void) {
    this.#clock = clock;
    this.#onTime = onTime;
  }

  set(name: Name, ms: number): void {
    this.cancel(name);
    // A timer that was replaced may have fired already and wait in the queue's way: only the last one counts.
    const timer = {
      cancel: this.#clock.setTimer(ms, () => {
        if (this.#running.get(name) !== timer) return;
        this.#running.delete(name);
        this.#onTime(name);
      }),
    };
    this.#running.set(name, timer);
  }

  cancel(name: Name): void {
    this.#running.get(name)?.cancel();
    this.#running.delete(name);
  }

  clear(): void {
    for (const { cancel } of this.#running.values()) cancel();
    this.#running.clear();
  }
}
