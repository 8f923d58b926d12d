/** What a logistic probe on the example's frozen features reaches: `node bench/probe.ts [JOB.yaml]`. */
import { featuresOf } from './lib/features.ts';
import { chooseLogistic, scoreLogistic } from './lib/logistic.ts';

const file = process.argv[2] ?? 'examples/sentiment/job.yaml';
const { train, validation, test } = await featuresOf(file, ['train', 'validation', 'test']);
const penalties = [1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5];
const best = chooseLogistic(train, validation, penalties);
const line = (name: string, { loss, accuracy }: { loss: number; accuracy: number }) =>
  console.log(`${name.padEnd(11)} loss ${loss.toFixed(4)}  accuracy ${accuracy.toFixed(4)}`);
console.log(`${file}: logistic probe, ${train.labels.length} rows, penalty ${best.l2} chosen on validation`);
line('train', scoreLogistic(best.probe, train));
line('validation', best.validation);
line('test', scoreLogistic(best.probe, test));
