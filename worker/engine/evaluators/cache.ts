/**
 * Outputs of the frozen part of a model, kept per example (activations differ in length, so each has its own array)
 * within a budget that several splits share.
 */
export class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Whether so many bytes could be had; if so they are taken. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** What is cached of one split. */
export class ActivationCache {
  readonly #budget: Budget;
  readonly #rows = new Map<number, Float32Array>();
  #bytes = 0;
  #full = false;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** Whether there was a row that had no room. */
  get full(): boolean {
    return this.#full;
  }

  get(row: number): Float32Array | undefined {
    return this.#rows.get(row);
  }

  /** Keeps a copy of a row's activations, if there is room. */
  put(row: number, values: Float32Array): void {
    if (this.#rows.has(row)) return;
    if (!this.#budget.take(values.byteLength)) {
      this.#full = true;
      return;
    }
    this.#bytes += values.byteLength;
    this.#rows.set(row, values.slice());
  }

  clear(): void {
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
    this.#full = false;
    this.#rows.clear();
  }
}
