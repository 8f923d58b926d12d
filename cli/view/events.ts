/** What a view is told while a job runs, and what it gets at the end. Plain values; no view asks for more. */
import type { Evaluation } from '../../worker/journal/record.ts';

export type Split = 'train' | 'validation' | 'test';

/** What one active member did in one round. */
export interface MemberRound {
  readonly slot: number;
  /** Bytes it had in the record; 0: missed. */
  readonly probes: number;
}

export interface RoundObserved {
  readonly type: 'round';
  readonly round: number;
  /** Milliseconds since the record before it. */
  readonly elapsed: number;
  /** Mean training loss of the round; NaN where nobody measured one. */
  readonly loss: number;
  /** The active members in slot order; nobody in the final evaluation, which has no probes. */
  readonly members: readonly MemberRound[];
  /** What the probes took in the record. */
  readonly payloadBytes: number;
  /** Forward passes of one batch each that the round took, and the examples that went through them. */
  readonly forwards: number;
  readonly examples: number;
  /** The evaluation after the last round: moves no weight. */
  readonly final?: boolean;
  /** Bytes of the record (its body, as the journal stores it), where known. */
  readonly recordBytes?: number;
  readonly evaluations?: readonly Evaluation[];
}

export interface JoinObserved {
  readonly type: 'join';
  readonly slot: number;
  readonly name: string;
  readonly group: string;
}

export interface LeaveObserved {
  readonly type: 'leave';
  readonly slot: number;
  /** `left`: it said so. `lost`: it missed too many rounds. */
  readonly why: 'left' | 'lost';
}

/** Work outside of rounds, such as fetching a model: shown until the next phase or round. */
export interface PhaseObserved {
  readonly type: 'phase';
  readonly text: string;
  /** 0..1 where known. */
  readonly share?: number;
}

/** Weights in all, and what each stage trains, once the model is loaded. */
export interface ModelObserved {
  readonly type: 'model';
  readonly weights: number;
  /** Per stage of the plan; missing or NaN where not known yet. */
  readonly trained: readonly number[];
}

/** Running totals that no record carries; each replaces the one before. */
export interface TotalsObserved {
  readonly type: 'totals';
  /** Bytes that went through sockets or IPC, all processes, both directions counted once. */
  readonly wireBytes?: number;
  readonly journalBytes?: number;
}

export interface DisputeObserved {
  readonly type: 'dispute';
  readonly round: number;
  readonly slot: number;
  readonly reason: 'bytes' | 'digest';
  readonly proposer: string;
}

/** A replica whose own state was wrong, which it found out and built anew. */
export interface DivergenceObserved {
  readonly type: 'divergence';
  readonly round: number;
  readonly slot: number;
  /** The first one that was wrong. */
  readonly tensor: string;
}

export interface NoticeObserved {
  readonly type: 'notice';
  readonly level: 'info' | 'warning' | 'error';
  readonly text: string;
}

/** A run that goes on where it stopped: all observations of its records so far, told at once. */
export interface ResumedObserved {
  readonly type: 'resumed';
  readonly observed: readonly Observed[];
}

export type Observed =
  | ResumedObserved
  | RoundObserved
  | JoinObserved
  | LeaveObserved
  | PhaseObserved
  | ModelObserved
  | TotalsObserved
  | DisputeObserved
  | DivergenceObserved
  | NoticeObserved;

/** The job as the views name it. */
export interface ViewJob {
  readonly name: string;
  /** Such as `hf://sentence-transformers/all-MiniLM-L6-v2`. */
  readonly model: string;
}

export interface BeforeAfter {
  readonly before: number;
  readonly after: number;
}

/** One line of the final table: a split, of all groups together or of one. */
export interface Score {
  readonly split: Split;
  readonly group?: string;
  readonly examples: number;
  readonly loss: BeforeAfter;
  /** Such as accuracy. */
  readonly metric?: BeforeAfter & { readonly name: string };
}

export interface WrittenFile {
  readonly path: string;
  /** What it is, in a few words. */
  readonly what: string;
  readonly bytes?: number;
}

export interface RunResult {
  readonly name: string;
  readonly rounds: number;
  readonly reason: 'rounds' | 'forwards' | 'target' | 'cancelled';
  readonly workers: number;
  /** Forward passes of one batch each, and the examples that went through them. */
  readonly forwards: number;
  readonly examples: number;
  readonly probes: number;
  /** What the probes took in records: one byte each, or a fifth where they are signs. */
  readonly payloadBytes: number;
  readonly wireBytes: number;
  readonly journalBytes: number;
  readonly seconds: number;
  /** SHA-256 of the trained state. */
  readonly digest: string;
  readonly scores: readonly Score[];
  readonly files: readonly WrittenFile[];
  /** How anybody checks it, such as `onebyte replay runs/sentiment/journal.onebyte`. */
  readonly verify?: string;
}

/** Evaluation sums of several members, pooled per split: means over all their examples. */
export interface Pooled {
  readonly split: Split;
  readonly count: number;
  readonly loss: number;
  readonly accuracy: number;
}

/** A pooled evaluation at the start state of `round`. */
export interface EvaluationPoint extends Pooled {
  readonly round: number;
}

const SPLITS: readonly Split[] = ['train', 'validation', 'test'];

export function pool(evaluations: readonly Evaluation[]): Pooled[] {
  return SPLITS.flatMap((split) => {
    const parts = evaluations.filter(
      (part) => part.split === split && part.count > 0 && Number.isFinite(part.count),
    );
    const count = parts.reduce((sum, part) => sum + part.count, 0);
    if (!(count > 0)) return [];
    const lossSum = parts.reduce((sum, part) => sum + part.lossSum, 0);
    const correct = parts.reduce((sum, part) => sum + part.correct, 0);
    return [{ split, count, loss: lossSum / count, accuracy: correct / count }];
  });
}
