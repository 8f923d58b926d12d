import type { Ledger } from '../journal/ledger.ts';
import { currentStage } from '../journal/ledger.ts';
import type { Trained } from '../model/export.ts';
import type { ModelFolder } from '../model/folder.ts';
import { mergeLowRank } from '../model/merge.ts';
import type { TensorView } from '../model/tensor.ts';
import type { Replica } from '../replica/replica.ts';
import { type Basis, basisFloats } from './basis.ts';
import { hasHead } from './objective.ts';
import { type EnginePlan, HEAD_BIAS, HEAD_WEIGHT } from './plan.ts';
import { epochBasis } from './stages.ts';

/** What a replica's state makes of its base model, for the exports. `C V` of an epoch that is not over is merged in. */
export function trainedOf(
  replica: Replica,
  plan: EnginePlan,
  basis: Basis | null,
  { model }: ModelFolder,
): Trained {
  const view = (index: number): TensorView => ({
    dims: plan.tensors[index]!.shape,
    data: replica.store.view(index),
  });
  const ledger: Ledger = replica.ledger;
  const { task } = ledger.job!;
  const weights = new Map<string, TensorView>();
  plan.tensors.forEach(({ name }, index) => {
    if (plan.starts[index] === 'weight') weights.set(name, view(index));
  });
  const stage = plan.stages[currentStage(ledger).index]!;
  const common = {
    weights,
    head: hasHead(task) ? { weight: view(HEAD_WEIGHT), bias: view(HEAD_BIAS), labels: task.labels } : null,
    pooling: task.pooling,
  };
  if (stage.scope.type === 'subspace') {
    const rows = epochBasis(plan, stage, basis, replica.position.epoch);
    for (const factor of stage.factors) {
      const name = `${factor.matrix.name}.weight`;
      const v = rows(factor);
      const right = { dims: [v.rows, v.width], data: basisFloats(v) };
      weights.set(name, mergeLowRank(weights.get(name) ?? model.weights.get(name)!, view(factor.c!), right));
    }
  }
  // Also of a stage that another one follows: a run may end within it, and once it is merged, B is zero.
  if (stage.scope.type !== 'lora') return common;
  const factors = new Map(stage.factors.map((f) => [f.matrix.name, { a: view(f.a!), b: view(f.b!) }]));
  return { ...common, adapters: { rank: stage.scope.rank, alpha: stage.scope.alpha, factors } };
}
