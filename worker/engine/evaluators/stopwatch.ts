/** Adds up what a kind of work took, call by call. */
export class Stopwatch {
  /** So far. */
  ms = 0;

  time<T>(work: () => T): T {
    const start = performance.now();
    try {
      return work();
    } finally {
      this.ms += performance.now() - start;
    }
  }
}
