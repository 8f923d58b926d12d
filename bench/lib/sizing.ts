/** The formulas of docs/sizing.md: what a run takes, in bytes. */

/** Of one entry of the log: a round of so many workers with so many probes each. */
export function entryBytes(workers: number, probes: number): number {
  return 268 + workers * (probes + 2);
}

/** That a worker sends in a round, headers of NATS and TCP's payload included. */
export function sentBytes(workers: number, probes: number): number {
  return 190 + probes + entryBytes(workers, probes) / workers / 4;
}

/** That a worker receives in a round: its share of the others' messages, and the record. */
export function receivedBytes(workers: number, probes: number): number {
  return entryBytes(workers, probes) + 400 + probes;
}

/** Peak of a worker's resident memory: program, runtime and tokenizer, and what loading holds of the model beside the session's own copy. @param weights bytes of the model in 32-bit floats */
export function workerBytes(weights: number): number {
  return 180 * 2 ** 20 + 3.5 * weights;
}
