import type { State } from '../../grid/state.ts';
import type { JobSpec } from '../../journal/job.ts';
import type { Model } from '../../model/family.ts';
import type { ModelFolder } from '../../model/folder.ts';
import type { Adapters, GraphFrom, GraphOptions } from '../../model/graph.ts';
import type { TensorView, Weights } from '../../model/tensor.ts';
import type { Examples } from '../../task/examples.ts';
import type { Basis } from '../basis.ts';
import { basisFloats } from '../basis.ts';
import { type Objective, objectiveOf } from '../objective.ts';
import { type EnginePlan, type EngineStage, HEAD_BIAS, HEAD_WEIGHT, layerOf } from '../plan.ts';
import { epochBasis } from '../stages.ts';
import { openForward } from './forward.ts';
import { GroupedRunner, groupedScratchBytes } from './grouped.ts';
import { InPlaceRunner } from './inplace.ts';
import type { Chunking, Runner } from './runner.ts';
import { RowSource, type Split } from './source.ts';

export interface StageOptions {
  readonly job: JobSpec;
  readonly folder: ModelFolder;
  readonly state: State;
  readonly plan: EnginePlan;
  readonly basis: Basis | null;
  readonly examples: Readonly<Record<Split, Examples>>;
  readonly threads: number;
  readonly memoryBudgetBytes: number;
  readonly chunking: Chunking;
}

/** A head alone costs so little that the calls cost more: few of them. */
const HEAD_CHUNKING: Chunking = { rows: 1024, examples: 1 << 14 };

/** Scratch memory that a plan's stages need of the state (`StateOptions.scratchBytes`). */
export function scratchBytes(plan: EnginePlan): number {
  const size = (index: number) => plan.tensors[index]!.shape.reduce((a, b) => a * b, 1);
  return Math.max(
    ...plan.stages.map(({ scope, perturbed }) =>
      scope.type === 'full' ? 0 : groupedScratchBytes(perturbed.map(size)),
    ),
  );
}

/** Where a stage's rows come from; `key` says of what they are computed, null: of weights that may have moved. */
export interface StageSource {
  readonly rows: RowSource;
  readonly key: string | null;
}

/**
 * Builds the sessions of a stage over the state as it is now.
 * @param last the source of the stage before: kept where its frozen part is the same, else closed
 */
export async function openStage(
  options: StageOptions,
  index: number,
  epoch: number,
  last: StageSource | null,
): Promise<{ readonly runner: Runner; readonly source: StageSource }> {
  const stage = options.plan.stages[index]!;
  options.state.freeScratch();
  const { state, plan, job, folder, threads } = options;
  const objective = objectiveOf(job.task, folder.model, folder.tokenizer);
  const base = {
    ...objective,
    longest: job.task.maxTokens,
    weights: weightsOf(state, plan, folder.model),
  };
  const frozenHead = plan.head && !stage.perturbed.includes(HEAD_WEIGHT);
  const head = frozenHead
    ? { weight: tensorView(state, HEAD_WEIGHT), bias: tensorView(state, HEAD_BIAS) }
    : undefined;
  const from = startOf(stage, folder.model);
  const source = await sourceOf(options, from, base, last);
  const graph: Omit<GraphOptions, 'hidden'> = { ...base, from, to: 'loss', ...(head && { head }) };
  const common = {
    state,
    source: source.rows,
    examples: options.examples,
    radius: stage.estimator.radius,
    chunking: from === 'pooled' ? HEAD_CHUNKING : options.chunking,
  };
  const adapters = adaptersOf(options, stage, epoch);
  const inputs = new Set(stage.weights.map((i) => plan.tensors[i]!.name));
  try {
    const whole = { ...graph, inputs, ...(adapters && { adapters }) };
    const session = await openForward(folder.model, whole, { threads });
    const runner =
      stage.scope.type === 'full'
        ? new InPlaceRunner({ ...common, session, trained: inPlaceInputs(plan, stage) })
        : new GroupedRunner({ ...common, session, trained: groupedInputs(plan, stage) });
    return { runner, source };
  } catch (error) {
    await source.rows.close();
    throw error;
  }
}

type Base = Objective & { readonly longest: number; readonly weights: Weights };

function startOf(stage: EngineStage, model: Model): GraphFrom {
  if (stage.scope.type === 'head') return 'pooled';
  if (stage.firstLayer === 0 || model.uncut) return 'ids';
  return stage.firstLayer === model.layers ? 'pooled' : stage.firstLayer;
}

async function sourceOf(
  options: StageOptions,
  from: GraphFrom,
  base: Base,
  last: StageSource | null,
): Promise<StageSource> {
  const { plan } = options;
  const moves = plan.tensors.some(({ name }, i) => {
    return plan.starts[i] === 'weight' && (typeof from !== 'number' || (layerOf(name) ?? -1) < from);
  });
  const key = moves ? null : String(from);
  if (last !== null && last.key === key && key !== null) return last;
  await last?.rows.close();
  return { rows: await openSource(options, from, base), key };
}

async function openSource(
  { examples, folder, memoryBudgetBytes, threads, chunking }: StageOptions,
  from: GraphFrom,
  base: Base,
): Promise<RowSource> {
  const { model, tokenizer } = folder;
  const { tokens } = chunking;
  const options = { examples, padId: tokenizer.padId, width: model.hidden, memoryBudgetBytes, tokens };
  if (from === 'ids') return new RowSource(options, 'ids', null);
  const to = from === 'pooled' ? from : { layer: from };
  const frozen = await openForward(model, { ...base, from: 'ids', to }, { threads });
  return new RowSource(options, from === 'pooled' ? 'pooled' : 'hidden', frozen);
}

function tensorView(state: State, index: number): TensorView {
  return { dims: state.tensors[index]!.shape, data: state.view(index) };
}

/** The base model's weights, those in the state as they are there: earlier stages may have moved them. */
function weightsOf(state: State, plan: EnginePlan, model: Model): Weights {
  const moved = plan.tensors.flatMap(({ name }, index) => {
    return plan.starts[index] === 'weight' ? [[name, tensorView(state, index)] as const] : [];
  });
  return model.withWeights(new Map(moved));
}

function adaptersOf({ plan, basis }: StageOptions, stage: EngineStage, epoch: number): Adapters | undefined {
  const { type, rank, alpha } = stage.scope;
  const matrices = stage.factors.map(({ matrix }) => matrix.name);
  if (type === 'lora') return { type, rank, alpha, matrices };
  if (type !== 'subspace') return undefined;
  // One array for all matrices of a site, by which the graph knows that they share the work.
  const sites = new Map<string, TensorView>();
  const basisOf = epochBasis(plan, stage, basis, epoch);
  for (const factor of stage.factors) {
    if (sites.has(factor.site)) continue;
    sites.set(factor.site, { dims: [rank, factor.matrix.in], data: basisFloats(basisOf(factor)) });
  }
  return {
    type,
    rank,
    bases: new Map(stage.factors.map(({ matrix, site }) => [matrix.name, sites.get(site)!])),
  };
}

function groupedInputs(plan: EnginePlan, stage: EngineStage): { index: number; input: string }[] {
  const inputs = new Map<number, string>();
  for (const { matrix, a, b, c } of stage.factors) {
    if (a !== undefined) inputs.set(a, `${matrix.name}.A`);
    if (b !== undefined) inputs.set(b, `${matrix.name}.B`);
    if (c !== undefined) inputs.set(c, `${matrix.name}.C`);
  }
  return stage.perturbed.map((index) => ({ index, input: inputs.get(index) ?? plan.tensors[index]!.name }));
}

function inPlaceInputs(
  plan: EnginePlan,
  stage: EngineStage,
): { index: number; input: string; dims: number[] }[] {
  return stage.perturbed.map((index) => {
    const { name, shape } = plan.tensors[index]!;
    const isHead = plan.head && (index === HEAD_WEIGHT || index === HEAD_BIAS);
    return { index, input: name, dims: isHead ? [1, ...shape] : [...shape] };
  });
}
