/**
 * The part of a job that training reads, with every default filled: what the genesis record carries as canonical
 * JSON. The CRD in `crds/finetunejob.yaml` is the source of truth for names, bounds and defaults.
 */
export interface JobSpec {
  readonly seed: number;
  readonly model: ModelSpec;
  readonly task: TaskSpec;
  readonly method: MethodSpec;
  readonly stop: StopSpec;
  readonly evaluation: { readonly everyRounds: number; readonly examples: number };
  readonly checkpoint: { readonly everyRounds: number };
}

export interface ModelSpec {
  readonly uri: string;
  readonly sha256: string;
  /** Of an ONNX file: the output to learn from, and patterns of the weights that may be trained. */
  readonly output?: string;
  readonly weights?: readonly string[];
}

export type TaskSpec = ClassificationTask | CausalTask | MaskedTask;

interface CommonTask {
  readonly maxTokens: number;
  readonly pooling: 'mean' | 'cls';
}

export interface ClassificationTask extends CommonTask {
  readonly type: 'classification';
  /** Template over the fields of a row, such as `{title}: {text}`; with `words`, the prompt. */
  readonly text: string;
  /** Template that gives the label. */
  readonly label: string;
  readonly labels: readonly string[];
  /** What a language model says for each label; without them a new head is trained. */
  readonly words?: readonly string[];
}

/** Each token from those before it. One of `text`, `prompt` with `completion`, and `messages` is there. */
export interface CausalTask extends CommonTask {
  readonly type: 'causal-lm';
  readonly text?: string;
  /** Read, and not counted in the loss. */
  readonly prompt?: string;
  readonly completion?: string;
  /** Field that holds a chat. */
  readonly messages?: string;
}

/** Hidden tokens from those around them. */
export interface MaskedTask extends CommonTask {
  readonly type: 'masked-lm';
  readonly text: string;
}

export interface MethodSpec {
  readonly plan: readonly StageSpec[];
  readonly estimator: EstimatorSpec;
  readonly rule: RuleSpec;
  readonly codec: 'log8' | 'sign1';
  /** Number of candidate seeds (FedKSeed); 0: a fresh direction for every probe. */
  readonly seedPool: number;
  readonly seedDraw: 'uniform' | 'differentiated';
}

export interface StageSpec {
  readonly scope: ScopeSpec;
  readonly rounds: number;
  /** What this stage changes of the job's estimator and rule. */
  readonly estimator?: Partial<Omit<EstimatorSpec, 'probes'>> & {
    readonly probes?: Partial<EstimatorSpec['probes']>;
  };
  readonly rule?: Partial<RuleSpec>;
}

export type ScopeType = 'head' | 'subspace' | 'lora' | 'full';
export type MatrixName = 'query' | 'key' | 'value' | 'output' | 'gate' | 'up' | 'down';

export interface ScopeSpec {
  readonly type: ScopeType;
  /** Layers that are trained, `4-5`, `0,2,5` or `all`; the layers below the first one are frozen. */
  readonly layers: string;
  readonly matrices: readonly MatrixName[];
  /** subspace, lora: columns of C, rows of A. */
  readonly rank: number;
  /** lora: W + (alpha / rank) B A. */
  readonly alpha: number;
  /** Whether the classification head is trained too. */
  readonly head: boolean;
  /** subspace: merges of C V into W, evenly spread over the stage's rounds; the last one at its end. */
  readonly epochs: number;
  readonly basis: BasisSpec;
}

export interface BasisSpec {
  readonly type: 'activation' | 'random';
  /** Public text for the activation basis: a source like those of `data`; its rows are used, never a worker's. */
  readonly calibration?: SourceSpec;
  readonly rows: number;
}

/** Whether workers need a basis that one of them computes when the run begins and gives to the others. */
export function needsBasis({ method }: PlanOfScopes): boolean {
  return method.plan.some(({ scope }) => scope.type === 'subspace' && scope.basis.type === 'activation');
}

interface PlanOfScopes {
  readonly method: {
    readonly plan: readonly {
      readonly scope: { readonly type: ScopeType; readonly basis: Pick<BasisSpec, 'type'> };
    }[];
  };
}

export interface SourceSpec {
  readonly name?: string;
  readonly uri: string;
  readonly format?: 'jsonl' | 'csv' | 'parquet';
  /** Replace the task's templates for this source. */
  readonly text?: string;
  readonly prompt?: string;
  readonly completion?: string;
  readonly messages?: string;
  readonly label?: string;
}

export interface EstimatorSpec {
  /** Perturbation radius, in units of the weights. */
  readonly radius: number;
  readonly probes: { readonly min: number; readonly max: number };
  /** Examples of one probe's batch. */
  readonly batch: number;
  /** 2: (L(theta + r z) - L(theta - r z)) / 2r.  1: (L(theta + r z) - L(theta)) / r. */
  readonly sides: 1 | 2;
}

export interface RuleSpec {
  readonly type: 'sgd' | 'normalized';
  /**
   * sgd: theta -= lr * s(n) * sum g z.
   * normalized: theta -= lr * radius * s(n) * sum (g / rms g) z, so that with scaling sqrt and lr 1 the root mean
   * square movement of a weight per round is the radius.
   */
  readonly learningRate: number;
  /** s(n) over the n probes of a round: 1/n, 1/sqrt n, 1. */
  readonly scaling: 'mean' | 'sqrt' | 'sum';
  readonly momentum: number;
  readonly schedule: 'constant' | 'linear' | 'cosine';
  readonly warmupRounds: number;
  readonly weighting: 'probes' | 'workers' | 'examples';
}

export interface StopSpec {
  /** 0: the plan's rounds. */
  readonly rounds: number;
  /** Forward passes (one batch each) after which the run ends; 0: no limit. */
  readonly forwards: number;
  readonly target?: { readonly metric: 'accuracy' | 'loss'; readonly value: number };
}
