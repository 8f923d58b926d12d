import { philox } from '../direction/philox.ts';
import { hashWords } from '../direction/seed.ts';
import { OnebyteError } from '../errors.ts';
import type { TensorSpec } from '../grid/layout.ts';
import { chooseExponent, roundToGrid } from '../grid/quantum.ts';
import type { EstimatorSpec, JobSpec, ScopeSpec, StageSpec } from '../journal/job.ts';
import { effective } from '../journal/plan.ts';
import type { Matrix, Model } from '../model/family.ts';
import { siteName } from './basis.ts';
import { parseLayers } from './layers.ts';
import { endOf, hasHead, type Objective } from './objective.ts';

/** A matrix M with a trained low-rank part, by the layout indices of its tensors. */
export interface Factor {
  readonly matrix: Matrix;
  /** Whose rows are V (`subspace`). */
  readonly site: string;
  /** `M.weight`; absent where nothing is ever merged into it. */
  readonly weight: number | undefined;
  /** subspace: `M.C` [out, rank]. */
  readonly c: number | undefined;
  /** lora: `M.A` [rank, in] and `M.B` [out, rank]. */
  readonly a: number | undefined;
  readonly b: number | undefined;
}

/** What the engine, the replica and the replayer need to know of a stage. */
export interface EngineStage {
  readonly index: number;
  /** First round; the stage covers `start` to `start + rounds - 1`. */
  readonly start: number;
  readonly rounds: number;
  readonly scope: ScopeSpec;
  readonly estimator: EstimatorSpec;
  /** Layout indices of the tensors that probes perturb and rounds move, ascending. */
  readonly perturbed: readonly number[];
  /** Layers below are frozen, so their output may be cached. The model's number of layers: all but the head is. */
  readonly firstLayer: number;
  /** subspace, lora */
  readonly factors: readonly Factor[];
  /** full: layout indices of the model's weights that are trained. */
  readonly weights: readonly number[];
  /** Rounds whose probes are the first to see the factors merged into their weights, ascending. */
  readonly merges: readonly number[];
}

type Start = 'zeros' | 'weight' | 'lora';

/** The trainable state of a whole job: a function of the job and the base model alone. */
export interface EnginePlan {
  /** The state's layout, for all stages. Where there is a head, `head.weight` is number 0, `head.bias` number 1. */
  readonly tensors: readonly TensorSpec[];
  readonly starts: readonly Start[];
  /** Whether the task trains a new head. */
  readonly head: boolean;
  readonly stages: readonly EngineStage[];
  readonly seed: number;
  /** Rows that the activation basis needs of each site; empty where no stage uses one. */
  readonly basisRows: ReadonlyMap<string, { readonly width: number; readonly rows: number }>;
}

export const HEAD_WEIGHT = 0;
export const HEAD_BIAS = 1;

/** Radii that a tensor which starts at zero is given room for at first; beyond, its grid is coarsened. */
const EXPECTED_RADII = 256;
/** Room for growth of weights that start elsewhere. */
const HEADROOM = 8;
/** No trained model has larger weights; what is beyond has no grid. */
const LARGEST_WEIGHT = 2 ** 100;

interface Draft {
  readonly name: string;
  readonly shape: readonly number[];
  readonly start: Start;
  /** Largest radius that perturbs it; 0: none does. */
  radius: number;
}

/**
 * @throws OnebyteError PLAN_INVALID, naming the field, for a plan that this model cannot carry out; MODEL_FILE_INVALID
 *   for a weight that is no number to train
 */
export function planEngine(job: JobSpec, model: Model): EnginePlan {
  const planner = new Planner(job, model);
  const stages = job.method.plan.map((stage, index) => planner.stage(stage, index));
  const tensors = planner.drafts.map(({ name, shape, start, radius }): TensorSpec => {
    const expected = Math.max(EXPECTED_RADII * radius, 2 ** -10);
    return {
      name,
      shape,
      exponent: chooseExponent(largestStart(model, name, shape, start), HEADROOM, expected),
    };
  });
  const starts = planner.drafts.map(({ start }) => start);
  return { tensors, starts, stages, head: hasHead(job.task), seed: job.seed, basisRows: planner.basisRows };
}

/** The values that a tensor starts from, rounded to its grid. */
export function startValues(plan: EnginePlan, model: Model, index: number): Float32Array {
  const { name, shape, exponent } = plan.tensors[index]!;
  const size = shape.reduce((a, b) => a * b, 1);
  switch (plan.starts[index]!) {
    case 'zeros':
      return new Float32Array(size);
    case 'weight':
      return roundToGrid(model.weights.get(name)!.data, exponent);
    case 'lora':
      return roundToGrid(loraStart(plan.seed, name, shape), exponent);
  }
}

function largestStart(model: Model, name: string, shape: readonly number[], start: Start): number {
  if (start === 'zeros') return 0;
  if (start === 'lora') return loraBound(shape);
  let largest = 0;
  const { data } = model.weights.get(name)!;
  for (let i = 0; i < data.length; i++) largest = Math.max(largest, Math.abs(data[i]!));
  if (largest <= LARGEST_WEIGHT) return largest;
  throw new OnebyteError('MODEL_FILE_INVALID', `a weight of ${name}, which is to be trained, is ${largest}`, {
    field: name,
    remedy: 'use a model whose weights are finite numbers, or leave this one out of the scope',
  });
}

/** A starts uniform in +-1/sqrt(in), as Kaiming's rule with a = sqrt 5 gives it (Hu et al. 2021, PEFT). */
function loraBound(shape: readonly number[]): number {
  return 1 / Math.sqrt(shape[1]!);
}

function loraStart(seed: number, name: string, shape: readonly number[]): Float64Array {
  const words = hashWords('onebyte/lora/1', [seed, new TextEncoder().encode(name)]);
  const values = new Float64Array(shape[0]! * shape[1]!);
  const bound = loraBound(shape);
  const out = new Uint32Array(4);
  for (let i = 0; i < values.length; i++) {
    if (i % 4 === 0) philox(i / 4, 0, words[2]!, words[3]!, words[0]!, words[1]!, out);
    values[i] = ((out[i % 4]! + 0.5) / 2 ** 31 - 1) * bound;
  }
  return values;
}

/** Collects the tensors of all stages; what several stages train is one tensor. */
class Planner {
  readonly drafts: Draft[] = [];
  readonly basisRows = new Map<string, { width: number; rows: number }>();
  readonly #job: JobSpec;
  readonly #model: Model;
  readonly #end: Objective;
  #round = 0;

  constructor(job: JobSpec, model: Model) {
    this.#job = job;
    this.#model = model;
    this.#end = endOf(job.task, model);
    if (!hasHead(job.task)) return;
    const labels = job.task.labels.length;
    this.#tensor('head.weight', [labels, model.hidden], 'zeros');
    this.#tensor('head.bias', [labels], 'zeros');
  }

  stage(stage: StageSpec, index: number): EngineStage {
    const { scope, rounds } = stage;
    const start = this.#round;
    this.#round += rounds;
    const { estimator } = effective(this.#job, stage);
    const layers =
      scope.type === 'head'
        ? []
        : parseLayers(scope.layers, this.#model.layers, `method.plan[${index}].scope.layers`);
    const merges = this.#merges(index, start);
    const factors = this.#matrices(scope, layers, index).map((m) =>
      this.#factor(m, scope, index, merges.length > 0),
    );
    const weights = scope.type === 'full' ? this.#fullWeights(scope, layers) : [];
    if (scope.type === 'head' && !hasHead(this.#job.task))
      throw invalid(index, 'type', 'is head, and the task has no new head', 'choose another scope');
    const trainsHead = hasHead(this.#job.task) && (scope.type === 'head' || scope.head);
    const head = trainsHead ? [HEAD_WEIGHT, HEAD_BIAS] : [];
    const trained = factors.flatMap(({ a, b, c }) => [a, b, c].filter((i) => i !== undefined));
    const perturbed = [...head, ...trained, ...weights].sort((a, b) => a - b);
    for (const i of perturbed) this.drafts[i]!.radius = Math.max(this.drafts[i]!.radius, estimator.radius);
    const firstLayer = layers.length > 0 ? Math.min(...layers) : this.#model.layers;
    return { index, start, rounds, scope, estimator, perturbed, firstLayer, factors, weights, merges };
  }

  #tensor(name: string, shape: readonly number[], start: Start): number {
    const known = this.drafts.findIndex((draft) => draft.name === name);
    if (known >= 0) return known;
    return this.drafts.push({ name, shape, start, radius: 0 }) - 1;
  }

  /** A tensor of factors. Where an earlier stage has another shape under that name, the stage's number tells them apart. */
  #factorTensor(name: string, shape: readonly number[], start: Start, stage: number): number {
    const known = this.drafts.find((draft) => draft.name === name);
    const same = known === undefined || known.shape.every((n, i) => n === shape[i]);
    return this.#tensor(same ? name : `${name}@${stage}`, shape, start);
  }

  #weight(name: string): number {
    return this.#tensor(name, this.#model.weights.get(name)!.dims, 'weight');
  }

  #matrices(scope: ScopeSpec, layers: readonly number[], stage: number): readonly Matrix[] {
    if (scope.type !== 'subspace' && scope.type !== 'lora') return [];
    if (this.#model.matrices.length === 0) {
      const why = `is ${scope.type}, and no adapters can be put into the graph of a model of the family ${this.#model.family}`;
      throw invalid(
        stage,
        'type',
        why,
        'choose the scope full, or head where the model ends in a hidden state',
      );
    }
    const kinds: readonly string[] = scope.matrices;
    const chosen = this.#model.matrices.filter((m) => layers.includes(m.layer) && kinds.includes(m.kind));
    if (chosen.length === 0)
      throw invalid(stage, 'matrices', 'chooses no matrix of the model', 'name one or more');
    return chosen;
  }

  #factor(matrix: Matrix, scope: ScopeSpec, stage: number, merged: boolean): Factor {
    const site = siteName(matrix.layer, matrix.kind);
    const { name, out, in: width } = matrix;
    const { rank } = scope;
    const weight = merged ? this.#weight(`${name}.weight`) : undefined;
    if (scope.type === 'lora') {
      const a = this.#factorTensor(`${name}.A`, [rank, width], 'lora', stage);
      const b = this.#factorTensor(`${name}.B`, [out, rank], 'zeros', stage);
      return { matrix, site, weight, a, b, c: undefined };
    }
    const rows = rank * scope.epochs;
    if (rows > width) {
      const why = `asks for ${rows} basis rows (rank x epochs) of a matrix with ${width} inputs`;
      throw invalid(stage, 'rank', why, `make rank x epochs at most ${width}`);
    }
    if (scope.basis.type === 'activation') {
      const known = this.basisRows.get(site)?.rows ?? 0;
      this.basisRows.set(site, { width, rows: Math.max(known, rows) });
    }
    const c = this.#factorTensor(`${name}.C`, [out, rank], 'zeros', stage);
    return { matrix, site, weight, c, a: undefined, b: undefined };
  }

  /** Matrices and their biases of the kinds asked for, layer norms; the embeddings where all layers are trained. */
  #fullWeights(scope: ScopeSpec, layers: readonly number[]): number[] {
    const kinds: readonly string[] = scope.matrices;
    const left = new Set(
      this.#model.matrices
        .filter((m) => !kinds.includes(m.kind))
        .flatMap((m) => [`${m.name}.weight`, `${m.name}.bias`]),
    );
    const { inputs } = this.#model.graph({
      from: 'ids',
      to: 'loss',
      ...this.#end,
      inputs: new Set(this.#model.weights.keys()),
    });
    const chosen = inputs.filter(({ name }) => {
      if (!this.#model.weights.has(name) || left.has(name)) return false;
      const layer = layerOf(name);
      return layer === undefined ? scope.layers === 'all' : layers.includes(layer);
    });
    return chosen.map(({ name }) => this.#weight(name));
  }

  /**
   * subspace: `epochs` merges spread evenly, the last at the stage's end. lora: one at its end, unless it is the plan's
   * last stage (adapters are exported as such) or the next one goes on training the same adapters.
   */
  #merges(index: number, start: number): number[] {
    const { plan } = this.#job.method;
    const { scope, rounds } = plan[index]!;
    if (scope.type === 'subspace') {
      if (scope.epochs > rounds)
        throw invalid(index, 'epochs', `has ${scope.epochs} epochs in ${rounds} rounds`, 'use fewer epochs');
      return Array.from(
        { length: scope.epochs },
        (_, e) => start + Math.floor(((e + 1) * rounds) / scope.epochs),
      );
    }
    const next = plan[index + 1]?.scope;
    if (scope.type !== 'lora' || next === undefined || goesOn(scope, next)) return [];
    return [start + rounds];
  }
}

function goesOn(scope: ScopeSpec, next: ScopeSpec): boolean {
  const key = ({ type, layers, matrices, rank, alpha }: ScopeSpec) =>
    JSON.stringify([type, layers, [...matrices].sort(), rank, alpha]);
  return key(scope) === key(next);
}

/** The layer that a weight belongs to, `encoder.layer.4.output.dense.bias` to 4; undefined: none, such as embeddings. */
export function layerOf(name: string): number | undefined {
  const found = /(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\./.exec(name);
  return found === null ? undefined : Number(found[1]);
}

function invalid(stage: number, field: string, why: string, remedy: string): OnebyteError {
  const path = `method.plan[${stage}].scope.${field}`;
  return new OnebyteError('PLAN_INVALID', `${path} ${why}`, { field: path, remedy });
}
