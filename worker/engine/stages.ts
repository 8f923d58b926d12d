import { OnebyteError } from '../errors.ts';
import type { Merge, StageTensors } from '../replica/stage.ts';
import { type Basis, basisSlice, randomBasis, type SiteBasis } from './basis.ts';
import type { EnginePlan, EngineStage, Factor } from './plan.ts';

/**
 * V of each site in one epoch of a `subspace` stage.
 * @param basis the decoded artifact; null where the plan needs none
 * @throws OnebyteError BASIS_INVALID when the artifact lacks a site or rows of it
 */
export function epochBasis(plan: EnginePlan, stage: EngineStage, basis: Basis | null, epoch: number) {
  const { rank, epochs } = stage.scope;
  // After the last merge C is zero and stays so until the next stage: any V will do.
  const from = Math.min(epoch, epochs - 1) * rank;
  return (factor: Factor): SiteBasis => {
    const { site, matrix } = factor;
    if (stage.scope.basis.type === 'random') {
      return basisSlice(
        randomBasis(plan.seed, `${stage.index}/${site}`, matrix.in, rank * epochs),
        from,
        rank,
      );
    }
    const found = basis?.get(site);
    if (found === undefined || found.width !== matrix.in || found.rows < from + rank) {
      throw new OnebyteError(
        'BASIS_INVALID',
        `the basis artifact lacks rows ${from} to ${from + rank} of site ${site}`,
        {
          field: `method.plan[${stage.index}].scope.basis`,
          remedy: 'use the artifact whose digest the genesis record names',
        },
      );
    }
    return basisSlice(found, from, rank);
  };
}

/** What a replica needs to know of each stage to apply rounds and merges. */
export function stageTensors(plan: EnginePlan, basis: Basis | null): StageTensors[] {
  return plan.stages.map((stage) => ({
    tensors: stage.perturbed,
    merges:
      stage.merges.length === 0 ? [] : stage.factors.map((factor) => mergeOf(plan, stage, basis, factor)),
    mergedBefore: stage.merges,
  }));
}

function mergeOf(plan: EnginePlan, stage: EngineStage, basis: Basis | null, factor: Factor): Merge {
  const { rank, alpha } = stage.scope;
  const common = { weight: factor.weight!, rank, inputs: factor.matrix.in };
  if (factor.a !== undefined && factor.b !== undefined) {
    return { ...common, left: factor.b, right: factor.a, factor: alpha / rank };
  }
  return {
    ...common,
    left: factor.c!,
    right: (epoch) => epochBasis(plan, stage, basis, epoch)(factor),
    factor: 1,
  };
}
