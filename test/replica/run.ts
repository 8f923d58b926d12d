/** A small job and a stream of valid records for it, from seeded choices: what replica tests feed on. */

import { chooseExponent } from '../../worker/grid/quantum.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import type { JobSpec, MethodSpec, RuleSpec, StageSpec } from '../../worker/journal/job.ts';
import { advance, effective, emptyLedger, type Ledger, stageOf } from '../../worker/journal/ledger.ts';
import type { JournalRecord, TensorRecord } from '../../worker/journal/record.ts';
import type { StageTensors } from '../../worker/replica/stage.ts';

export interface Choices {
  readonly rounds: number;
  readonly epochs: number;
  readonly rule: Partial<RuleSpec>;
  readonly method: Partial<MethodSpec>;
  readonly radius: number;
}

const OUT = 6;
const IN = 96;
const RANK = 2;

export const TENSORS: readonly TensorRecord[] = [
  { name: 'head.weight', shape: [3, 40], exponent: chooseExponent(0, 8, 0.5) },
  { name: 'm.weight', shape: [OUT, IN], exponent: chooseExponent(1) },
  { name: 'm.C', shape: [OUT, RANK], exponent: chooseExponent(0, 8, 0.1) },
];

export function smallJob(choices: Choices): JobSpec {
  const scope = {
    layers: 'all',
    matrices: [],
    rank: RANK,
    alpha: 16,
    head: true,
    epochs: choices.epochs,
    basis: { type: 'random', rows: 1 },
  } as const;
  const stage = (type: 'head' | 'subspace'): StageSpec => ({
    scope: { ...scope, type },
    rounds: choices.rounds,
  });
  return {
    seed: 11,
    model: { uri: 'file://model', sha256: '0'.repeat(64) },
    task: {
      type: 'classification',
      text: '{t}',
      label: '{l}',
      labels: ['a', 'b', 'c'],
      maxTokens: 16,
      pooling: 'mean',
    },
    method: {
      plan: [stage('head'), stage('subspace')],
      estimator: { radius: choices.radius, probes: { min: 1, max: 4 }, batch: 8, sides: 2 },
      rule: {
        type: 'normalized',
        learningRate: 1,
        scaling: 'sqrt',
        momentum: 0,
        schedule: 'cosine',
        warmupRounds: 1,
        weighting: 'examples',
        ...choices.rule,
      },
      codec: 'log8',
      seedPool: 0,
      seedDraw: 'differentiated',
      ...choices.method,
    },
    stop: { rounds: 0, forwards: 0 },
    evaluation: { everyRounds: 0, examples: 8 },
    checkpoint: { everyRounds: 0 },
  };
}

export function smallStages({ rounds, epochs }: Pick<Choices, 'rounds' | 'epochs'>): StageTensors[] {
  const right = (epoch: number) => ({
    values: Int8Array.from({ length: RANK * IN }, (_, i) => (((i + epoch) * 37) % 255) - 127),
    exponent: -8,
  });
  return [
    { tensors: [0], merges: [], mergedBefore: [] },
    {
      tensors: [0, 2],
      merges: [{ weight: 1, left: 2, right, rank: RANK, inputs: IN, factor: 1 }],
      mergedBefore: Array.from(
        { length: epochs },
        (_, e) => rounds + Math.floor(((e + 1) * rounds) / epochs),
      ),
    },
  ];
}

/** A number in [0, below) from a counter-like generator; enough for choices. */
export function chooser(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
}

/** Genesis, joins, rounds with random bytes, leaves and misses, until the plan is done. */
export function randomRun(
  job: JobSpec,
  seed: number,
): { record: JournalRecord; body: Uint8Array; ledger: Ledger }[] {
  const choose = chooser(seed);
  const run: { record: JournalRecord; body: Uint8Array; ledger: Ledger }[] = [];
  let ledger = emptyLedger();
  const push = (record: JournalRecord) => {
    const body = encodeBody(record, ledger);
    ledger = advance(ledger, record, body);
    run.push({ record, body, ledger });
  };
  push({
    kind: 'genesis',
    uid: `run-${seed}`,
    at: 0,
    job: canonicalJson({ name: 'small', spec: job }),
    base: '1'.repeat(64),
    tokenizer: '2'.repeat(64),
    tensors: TENSORS,
    state: '3'.repeat(64),
    artifacts: [],
  });
  let joined = 0;
  const join = () => ({
    id: (++joined).toString(16).padStart(16, '0'),
    name: `w${joined}`,
    group: '',
    examples: 1 + choose(100),
  });
  while (ledger.complete === null) {
    const empty = ledger.members.length === 0;
    const { estimator } = effective(job, stageOf(job, ledger.round).stage);
    const bytes = ledger.members.map(() =>
      Uint8Array.from({ length: choose(5) === 0 ? 0 : 1 + choose(estimator.probes.max) }, () => choose(256)),
    );
    if (!empty && bytes.every((own) => own.length === 0)) bytes[0] = Uint8Array.of(5);
    push({
      kind: 'round',
      round: ledger.round,
      attempt: choose(3),
      elapsed: choose(1000),
      loss: 0.5,
      bytes,
      joins: empty ? [join(), join()] : choose(4) === 0 ? [join()] : [],
      leaves:
        ledger.members.length > 2 && choose(6) === 0
          ? [ledger.members[choose(ledger.members.length)]!.slot]
          : [],
      evaluations: [],
      digest: null,
    });
  }
  return run;
}
