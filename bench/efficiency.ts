/**
 * Examples to the same training loss: `subspace` (activation basis) and `lora` against `full` (MeZO), two-sided against
 * one-sided. Same start (a head trained a little), 64 rows used whole, step size tuned for each on one seed, then three
 * seeds.
 *
 *     node bench/efficiency.ts [--forwards 6144] [--probes 8] [--seeds 3] [--steps 1,2,4] [--calibration 512]
 */
import { parseArgs } from 'node:util';
import { scope } from '../test/engine/fixture.ts';
import type { JobSpec, ScopeSpec } from '../worker/journal/job.ts';
import { sentimentJob } from './lib/sentiment.ts';
import { runSolo } from './lib/solo.ts';

const { values: args } = parseArgs({
  options: {
    forwards: { type: 'string', default: '6144' },
    probes: { type: 'string', default: '8' },
    seeds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '1,2,4' },
    arms: { type: 'string', default: 'full,subspace,lora' },
    calibration: { type: 'string', default: '512' },
  },
});
const FOLDER = 'examples/sentiment';
const ROWS = 64;
const PROBES = Number(args.probes);
const HEAD_ROUNDS = 20;
const steps = args.steps.split(',').map(Number);
const seeds = Array.from({ length: Number(args.seeds) }, (_, i) => i + 1);

const basis = {
  type: 'activation',
  rows: Number(args.calibration),
  calibration: { uri: 'data/calibration.jsonl' },
} as const;
const ranked = (type: ScopeSpec['type'], rank: number) => scope(type, { rank, alpha: 2 * rank, basis });
const ALL = { full: ranked('full', 16), subspace: ranked('subspace', 16), lora: ranked('lora', 8) } as const;
type Arm = keyof typeof ALL;
const arms = args.arms.split(',') as Arm[];

function job(arm: Arm, sides: 1 | 2, seed: number, learningRate: number): JobSpec {
  const perRound = ROWS * (sides === 2 ? 2 * PROBES : PROBES + 1);
  // LoRA's factors are small and its B starts at zero: MeZO's radius for it is ten times that of whole weights.
  const radius = arm === 'lora' ? 1e-2 : 1e-3;
  return sentimentJob(
    {
      plan: [
        {
          scope: ranked('head', 1),
          rounds: HEAD_ROUNDS,
          estimator: { radius: 0.01, sides: 1, probes: { min: 1, max: 64 } },
          rule: { learningRate: 0.5 },
        },
        {
          scope: ALL[arm],
          rounds: Math.floor(Number(args.forwards) / perRound),
          estimator: { radius, sides },
          rule: { learningRate },
        },
      ],
      estimator: { radius: 1e-3, probes: { min: 1, max: PROBES }, batch: ROWS, sides },
      rule: { learningRate, schedule: 'constant' },
    },
    { seed },
  );
}

interface Outcome {
  /** Training loss at the start of the stage minus that at its end, in nats. */
  readonly gain: number;
  readonly examples: number;
  readonly seconds: number;
}

async function trial(arm: Arm, sides: 1 | 2, seed: number, step: number): Promise<Outcome> {
  let [start, examples, seconds] = [Number.NaN, 0, 0];
  const { after } = await runSolo(
    job(arm, sides, seed, step),
    { train: [{ uri: 'data/movies-64.jsonl' }] },
    FOLDER,
    (round) => {
      if (round.round < HEAD_ROUNDS) return;
      if (round.round === HEAD_ROUNDS) start = round.loss;
      // The first round builds sessions; its time is that of the second.
      else seconds += round.seconds;
      examples += round.exampleForwards;
    },
  );
  return { gain: start - after.train!.loss, examples, seconds };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
console.log(
  `64 movie rows used whole, ${PROBES} probes a round, ${args.forwards} example-forwards, gain in training loss`,
);
console.log(
  'arm        sides  step  gain per seed            mean    nats per 1,000 examples  per processor second',
);
for (const arm of arms) {
  for (const sides of [1, 2] as const) {
    const tuned = [];
    for (const step of steps) tuned.push({ step, ...(await trial(arm, sides, seeds[0]!, step)) });
    const best = tuned.reduce((a, b) => (b.gain > a.gain ? b : a));
    const outcomes: Outcome[] = [best];
    for (const seed of seeds.slice(1)) outcomes.push(await trial(arm, sides, seed, best.step));
    const gains = outcomes.map(({ gain }) => gain);
    const perExample = mean(outcomes.map(({ gain, examples }) => (1000 * gain) / examples));
    const perSecond = mean(outcomes.map(({ gain, seconds }) => gain / seconds));
    console.log(
      [
        arm.padEnd(10),
        String(sides).padEnd(6),
        String(best.step).padEnd(5),
        gains
          .map((gain) => gain.toFixed(4))
          .join(' ')
          .padEnd(24),
        mean(gains).toFixed(4),
        ` ${perExample.toFixed(5).padEnd(23)}`,
        perSecond.toFixed(5),
        ` (tuning: ${tuned.map(({ step, gain }) => `${step}: ${gain.toFixed(4)}`).join(', ')})`,
      ].join(' '),
    );
  }
}
