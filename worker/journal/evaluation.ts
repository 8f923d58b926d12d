import type { Evaluation, RoundRecord } from './record.ts';

export type Split = Evaluation['split'];
export const SPLITS: readonly Split[] = ['train', 'validation', 'test'];

/** One split at the start state of `round`, over all slots that evaluated it. */
export interface CombinedEvaluation {
  readonly round: number;
  readonly count: number;
  readonly loss: number;
  readonly accuracy: number;
}

export interface SplitHistory {
  readonly first: CombinedEvaluation;
  readonly last: CombinedEvaluation;
}

export type Evaluations = { readonly [split in Split]: SplitHistory | null };

/** One split over all slots of one record, summed in slot order; null where the record has none. */
export function combine(record: RoundRecord, split: Split): CombinedEvaluation | null {
  let [examples, loss, correct] = [0, 0, 0];
  for (const e of record.evaluations) {
    if (e.split !== split) continue;
    examples += e.count;
    loss += e.lossSum;
    correct += e.correct;
  }
  if (examples === 0) return null;
  return { round: record.round, count: examples, loss: loss / examples, accuracy: correct / examples };
}

/** The histories with a record's evaluations added. */
export function evaluationsAfter(histories: Evaluations, record: RoundRecord): Evaluations {
  if (record.evaluations.length === 0) return histories;
  const history = (split: Split): SplitHistory | null => {
    const last = combine(record, split);
    const before = histories[split];
    return last === null ? before : { first: before?.first ?? last, last };
  };
  return { train: history('train'), validation: history('validation'), test: history('test') };
}
