/** The records of a run, as values. Bytes: `codec.ts`. Order and meaning: `ledger.ts`. */

/** SHA-256 in lower-case hex. */
export type Digest = string;

export interface TensorRecord {
  readonly name: string;
  readonly shape: readonly number[];
  /** The tensor's quantum is 2 ** exponent. */
  readonly exponent: number;
}

export interface ArtifactReference {
  /** What it is for, such as `basis`. */
  readonly name: string;
  readonly digest: Digest;
  readonly bytes: number;
}

/** The first record: everything that a replica must agree on before it applies the rest. */
export interface GenesisRecord {
  readonly kind: 'genesis';
  /** Unique to this run; part of every direction's seed only through the chain. */
  readonly uid: string;
  /** Milliseconds since the epoch, by the writer's clock. */
  readonly at: number;
  /** Canonical JSON (sorted keys, no spaces) of {name, spec} with defaults filled and runtime-only fields removed. */
  readonly job: string;
  /** Digest of the base model's weights file(s). */
  readonly base: Digest;
  readonly tokenizer: Digest;
  readonly tensors: readonly TensorRecord[];
  /** Digest of the trainable state after rounding to the grid. */
  readonly state: Digest;
  readonly artifacts: readonly ArtifactReference[];
}

export interface Join {
  /** 16 hex digits, new for every incarnation of a worker. */
  readonly id: string;
  /** What people call it, such as the pod's name. */
  readonly name: string;
  /** The group of the job that it belongs to; '' for none. */
  readonly group: string;
  /** Training examples it holds, for weighting by examples. */
  readonly examples: number;
}

/** Sums over the examples of one split that one member evaluated at the round's start state. */
export interface Evaluation {
  readonly split: 'train' | 'validation' | 'test';
  readonly slot: number;
  readonly count: number;
  readonly lossSum: number;
  readonly correct: number;
}

/**
 * One round. State before it: theta_r; after it: theta_(r+1).
 * `bytes[i]` belongs to the i-th active member in slot order and has 0 (missed) to `probes.max` bytes.
 */
export interface RoundRecord {
  readonly kind: 'round';
  readonly round: number;
  /** The proposer was active[(round + attempt) mod n]. */
  readonly attempt: number;
  /** Milliseconds since the previous record, by the proposer's clock, clamped to 0..2^31-1. */
  readonly elapsed: number;
  /** Mean training loss seen in the round, as a 16-bit float; NaN where nobody measured one. */
  readonly loss: number;
  readonly bytes: readonly Uint8Array[];
  readonly joins: readonly Join[];
  /** Slots that leave after this round. */
  readonly leaves: readonly number[];
  readonly evaluations: readonly Evaluation[];
  /** Digest of theta_r, in rounds that the job checks. */
  readonly digest: Digest | null;
}

/** A state that can be fetched whole: theta at the start of `round`. */
export interface CheckpointRecord {
  readonly kind: 'checkpoint';
  readonly round: number;
  readonly digest: Digest;
  readonly location: string;
}

export interface ArtifactRecord {
  readonly kind: 'artifact';
  readonly artifact: ArtifactReference;
  readonly location: string;
}

/** A member says that a committed round is not what it holds right, or that it was wrong itself. Changes no state. */
export interface DisputeRecord {
  readonly kind: 'dispute';
  readonly round: number;
  readonly slot: number;
  readonly member: string;
  readonly proposer: string;
  /**
   * 'bytes' (not what I sent), 'digest' (my state differs from the record's) or 'tensor' (my own state was wrong, as the
   * one that I built anew shows; the proposer is then the member itself).
   */
  readonly reason: 'bytes' | 'digest' | 'tensor';
  /** Hex of what it had sent, its own digest, or the name of the first tensor that was wrong. */
  readonly expected: string;
}

export interface EndRecord {
  readonly kind: 'end';
  /** Rounds applied in all. */
  readonly round: number;
  readonly digest: Digest;
  readonly reason: 'rounds' | 'forwards' | 'target' | 'cancelled';
}

export type JournalRecord =
  | GenesisRecord
  | RoundRecord
  | CheckpointRecord
  | ArtifactRecord
  | DisputeRecord
  | EndRecord;
