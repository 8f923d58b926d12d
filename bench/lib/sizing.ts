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

/** What a run's records say, for the size of its journal. */
export interface JournalShape {
  readonly rounds: number;
  readonly workers: number;
  /** Bytes of probes over the whole run: one for each, or a fifth where all are signs. */
  readonly payload: number;
  /** Rounds in which somebody had fewer probes than the most: how many each had is written there. */
  readonly uneven: number;
  /** Rounds with a digest of the state. */
  readonly digests: number;
  /** Rounds with an evaluation of one split by every worker; one of two splits counts twice. */
  readonly evaluations: number;
}

/** Flags 1, loss 2, time since the record before 2 (1 below 128 ms), check 2. */
const ROUND = 7;
/** A zero and the length, before a round that says more than its probes. */
const MARKED = 2;
const DIGEST = 32;
/** Slot and split 1, rows 2, correct ones 2, loss 4. */
const EVALUATION = 9;
/** Job, tensors, digests; more for a model with many trained tensors. */
const GENESIS = 1024;

/** Of a journal file. Joins and leaves, some 30 bytes each, are not counted. */
export function journalBytes({
  rounds,
  workers,
  payload,
  uneven,
  digests,
  evaluations,
}: JournalShape): number {
  return (
    GENESIS +
    payload +
    rounds * ROUND +
    uneven * (workers + MARKED) +
    digests * (DIGEST + MARKED) +
    evaluations * (workers * EVALUATION + MARKED + 1)
  );
}
