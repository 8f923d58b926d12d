import { chunksByLength, unitsOf } from '../../task/batch.ts';
import type { Examples } from '../../task/examples.ts';
import type { Outcomes } from '../../task/metrics.ts';
import { type Aborted, check, type Sums } from '../evaluator.ts';
import { type Chunking, evaluationLimit } from './runner.ts';
import type { Feed, Forward } from './session.ts';
import type { RowSource, Split } from './source.ts';

export interface EvaluationOptions {
  /** Ends in `loss`. */
  readonly session: Forward;
  readonly source: RowSource;
  readonly examples: Readonly<Record<Split, Examples>>;
  readonly chunking: Chunking;
}

/**
 * What the state makes of each of some rows, in the order in which they were evaluated.
 * @param trained feeds of the trained tensors, as they are
 */
export async function outcomesOf(
  { session, source, examples, chunking }: EvaluationOptions,
  trained: Readonly<Record<string, Feed>>,
  split: Split,
  rows: Int32Array,
  aborted?: Aborted,
): Promise<Outcomes> {
  const order = new Int32Array(rows.length);
  const loss = new Float32Array(rows.length);
  const correct = new Float32Array(rows.length);
  const best: number[] = [];
  let at = 0;
  for (const chunk of chunksByLength(examples[split], rows, evaluationLimit(chunking))) {
    check(aborted);
    const own = chunk.map((position) => rows[position]!);
    const outputs = await session.run({ ...(await source.feeds(split, own)), ...trained });
    order.set(own, at);
    loss.set(outputs.loss!, at);
    correct.set(outputs.correct!, at);
    best.push(...(outputs.best ?? []));
    at += own.length;
  }
  return { rows: order, loss, correct, ...(best.length > 0 && { best: Int32Array.from(best) }) };
}

/** The same added up: in doubles, in the order of evaluation. */
export function sumsOf(split: Split, examples: Examples, { rows, loss, correct }: Outcomes): Sums {
  const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
  return { split, count: unitsOf(examples, rows), lossSum: sum(loss), correct: sum(correct) };
}
