/**
 * What few-shot tuning reached, beside a head alone: `node bench/fewshot.ts RUN_DIR`, after
 * `onebyte run examples/sentiment/fewshot.yaml`. Prints the curve over example-forwards, and logistic probes on the
 * same rows and on all rows.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MetricsLine } from '../cli/view/metrics.ts';
import { featuresOf } from './lib/features.ts';
import { chooseLogistic, fitLogistic, scoreLogistic } from './lib/logistic.ts';

const run = process.argv[2] ?? 'runs/sentiment-fewshot';
const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as MetricsLine);

const number = (value: number | null | undefined) => (value == null ? '     -' : value.toFixed(4));
console.log(
  `${run}\nround   example-forwards  training loss  validation loss  accuracy  test loss  accuracy`,
);
let examples = 0;
let before = Number.NaN;
for (const { round, loss, evaluations, examples: own } of lines) {
  if (evaluations !== undefined) {
    const { validation, test } = evaluations;
    console.log(
      String(round).padEnd(7),
      String(examples).padEnd(17),
      // The final evaluation has no probes; the round before measured the loss at its start.
      `${number(loss ?? before)}        `,
      `${number(validation?.loss)}          `,
      `${number(validation?.accuracy)}   `,
      `${number(test?.loss)}    `,
      number(test?.accuracy),
    );
  }
  examples += own;
  before = loss ?? before;
}

const few = await featuresOf('examples/sentiment/fewshot.yaml', ['train', 'validation', 'test']);
const penalties = [0.3, 0.1, 0.03, 0.01, 0.003, 0.001];
const best = chooseLogistic(few.train, few.validation, penalties);
const score = (what: string, probe: ReturnType<typeof fitLogistic>) => {
  const [train, test] = [scoreLogistic(probe, few.train), scoreLogistic(probe, few.test)];
  console.log(
    `${what}: training loss ${number(train.loss)}, test loss ${number(test.loss)}, test accuracy ${number(test.accuracy)}`,
  );
};
score(
  `head alone on the same ${few.train.labels.length} rows, penalty ${best.l2} chosen on validation`,
  best.probe,
);
const all = await featuresOf('examples/sentiment/job.yaml', ['train']);
score(`head alone on all ${all.train.labels.length} rows`, fitLogistic(all.train, 1e-3));
