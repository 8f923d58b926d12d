/**
 * Values handed from callbacks to one `for await`. Ends when `signal` aborts (at once, dropping what waits) or after
 * `end` (once what waits is taken); `fail` makes the iteration throw.
 */
export class AsyncQueue<T> implements AsyncIterableIterator<T> {
  #values: T[] = [];
  #taken = 0;
  #waiting: PromiseWithResolvers<IteratorResult<T>> | null = null;
  #state: 'open' | 'ending' | 'closed' = 'open';
  #error: unknown;
  readonly #onClose: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = () => this.#close();

  constructor(onClose: () => void = () => {}, signal?: AbortSignal) {
    this.#onClose = onClose;
    this.#signal = signal;
    if (signal?.aborted) this.#state = 'closed';
    else signal?.addEventListener('abort', this.#abort, { once: true });
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  push(value: T): void {
    if (this.#state !== 'open') return;
    if (this.#waiting === null) this.#values.push(value);
    else this.#settle({ done: false, value });
  }

  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    if (this.#waiting !== null) this.#close();
  }

  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#error = error;
    this.end();
  }

  async next(): Promise<IteratorResult<T>> {
    if (this.#state === 'closed') return this.#finish();
    if (this.#taken < this.#values.length) {
      const value = this.#values[this.#taken++]!;
      if (this.#taken === this.#values.length) {
        this.#values = [];
        this.#taken = 0;
      }
      return { done: false, value };
    }
    if (this.#state === 'ending') {
      this.#close();
      return this.#finish();
    }
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  async return(): Promise<IteratorResult<T>> {
    this.#error = undefined;
    this.#close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #settle(result: IteratorResult<T>): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.resolve(result);
  }

  #finish(): IteratorResult<T> {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  #close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#values = [];
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#onClose();
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting === null) return;
    if (this.#error === undefined) waiting.resolve({ done: true, value: undefined });
    else {
      waiting.reject(this.#error);
      this.#error = undefined;
    }
  }
}
