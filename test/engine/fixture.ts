import { addDirection } from '../../worker/direction/rademacher.ts';
import type { Basis } from '../../worker/engine/basis.ts';
import type { Evaluator } from '../../worker/engine/evaluator.ts';
import {
  createEvaluator,
  type EvaluatorOptions,
  scratchBytes,
} from '../../worker/engine/evaluators/create.ts';
import { radiusQuanta } from '../../worker/engine/evaluators/estimate.ts';
import { type EnginePlan, planEngine, startValues } from '../../worker/engine/plan.ts';
import { State } from '../../worker/grid/state.ts';
import type { EstimatorSpec, JobSpec, ScopeSpec, StageSpec } from '../../worker/journal/job.ts';
import { bertModel } from '../../worker/model/bert-model.ts';
import type { ModelFolder } from '../../worker/model/folder.ts';
import { openTokenizer } from '../../worker/model/tokenizer.ts';
import { type Examples, NO_EXAMPLES } from '../../worker/task/examples.ts';
import { random, TINY, tinyTokenizer, tinyWeights } from '../model/tiny.ts';

export function scope(type: ScopeSpec['type'], changes: Partial<ScopeSpec> = {}): ScopeSpec {
  return {
    type,
    layers: 'all',
    matrices: ['query', 'key', 'value', 'output', 'up', 'down'],
    rank: 2,
    alpha: 4,
    head: true,
    epochs: 1,
    basis: { type: 'random', rows: 0 },
    ...changes,
  };
}

export function stage(scopeSpec: ScopeSpec, estimator?: Partial<EstimatorSpec>, rounds = 8): StageSpec {
  return { scope: scopeSpec, rounds, ...(estimator && { estimator }) };
}

export function jobOf(plan: readonly StageSpec[], labels = ['no', 'yes', 'maybe']): JobSpec {
  return {
    seed: 7,
    model: { uri: 'file:///model', sha256: '' },
    task: { type: 'classification', text: '{text}', label: 'label', labels, maxTokens: 16, pooling: 'mean' },
    method: {
      plan,
      estimator: { radius: 1e-3, probes: { min: 1, max: 8 }, batch: 8, sides: 2 },
      rule: {
        type: 'normalized',
        learningRate: 1,
        scaling: 'sqrt',
        momentum: 0,
        schedule: 'constant',
        warmupRounds: 0,
        weighting: 'probes',
      },
      codec: 'log8',
      seedPool: 0,
      seedDraw: 'uniform',
    },
    stop: { rounds: 0, forwards: 0 },
    evaluation: { everyRounds: 0, examples: 0 },
    checkpoint: { everyRounds: 0 },
  };
}

export function tinyFolder(): ModelFolder {
  return {
    dir: '/tiny',
    model: bertModel(TINY, tinyWeights()),
    tokenizer: openTokenizer(tinyTokenizer() as Record<string, unknown>, {}),
    config: {},
    digests: { weights: '', tokenizer: '' },
  };
}

/** Rows of 3 to 14 tokens. */
export function randomExamples(count: number, seed: number, labels = 3): Examples {
  const numbers = random(count * 20, seed);
  const pick = (i: number, below: number) => Math.floor(((numbers[i]! + 1) / 2) * below);
  const ids = Array.from({ length: count }, (_, row) => {
    const length = 3 + pick(row * 20, 12);
    return Int32Array.from({ length }, (_, k) =>
      k === 0 ? 2 : k === length - 1 ? 3 : 4 + pick(row * 20 + 1 + k, 36),
    );
  });
  return { ids, labels: Int32Array.from(ids, (_, row) => pick(row * 20 + 17, labels)), truncated: 0 };
}

export interface Opened {
  readonly plan: EnginePlan;
  readonly state: State;
  readonly evaluator: Evaluator;
}

export type OpenOptions = Partial<Omit<EvaluatorOptions, 'job' | 'state' | 'plan'>> & {
  /** Gives the head and the factors numbers of their own, since zero is a special point. */
  readonly scatter?: boolean;
};

/** An evaluator at a job's start state. */
export async function open(job: JobSpec, options: OpenOptions = {}): Promise<Opened> {
  const { scatter = true, folder = tinyFolder(), basis = null, ...rest } = options;
  const plan = planEngine(job, folder.model);
  const state = new State(plan.tensors, { scratchBytes: scratchBytes(plan) });
  for (const [index, { name }] of plan.tensors.entries()) {
    state.set(index, startValues(plan, folder.model, index));
    if (scatter && plan.starts[index] === 'zeros')
      scatterTensor(state, index, name.startsWith('head') ? 200 : 20);
  }
  const examples = {
    train: randomExamples(30, 1),
    validation: randomExamples(11, 2),
    test: NO_EXAMPLES,
    ...rest.examples,
  };
  const evaluator = await createEvaluator({
    job,
    folder,
    state,
    plan,
    basis: basis as Basis | null,
    threads: 1,
    memoryBudgetBytes: 1 << 24,
    ...rest,
    examples,
  });
  return { plan, state, evaluator };
}

function scatterTensor(state: State, index: number, radii: number): void {
  const seed = Uint32Array.of(index, 2, 3, 4);
  const values = state.view(index).slice();
  for (let k = 1; k <= 3; k++) {
    addDirection(
      values,
      index,
      seed.map((word) => word + k),
      Math.round(radii * 256) * k * state.quantum(index),
    );
  }
  state.set(index, values);
}

export function seedsOf(count: number, salt = 0): Uint32Array {
  return Uint32Array.from({ length: count * 4 }, (_, i) => Math.imul(i + 1 + salt * 997, 0x9e3779b1));
}

/** Changes a state to theta + sign r z by the plain reference, as committed values. */
export function moveTo(opened: Opened, stageIndex: number, seed: Uint32Array, sign: -1 | 0 | 1): void {
  const { plan, state } = opened;
  const { perturbed, estimator } = plan.stages[stageIndex]!;
  for (const index of perturbed) {
    const values = state.view(index).slice();
    const amount = sign * radiusQuanta(estimator.radius, state.exponent(index)) * state.quantum(index);
    addDirection(values, index, seed, amount);
    state.set(index, values);
  }
}
