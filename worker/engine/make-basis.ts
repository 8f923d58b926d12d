import { loadRows, nameOf } from '../data/rows.ts';
import { OnebyteError } from '../errors.ts';
import type { BasisSpec, JobSpec } from '../journal/job.ts';
import type { ModelFolder } from '../model/folder.ts';
import { prepareTexts } from '../task/examples.ts';
import { encodeBasis } from './basis-file.ts';
import { basisOf, measureMoments } from './calibrate.ts';
import type { EnginePlan } from './plan.ts';

export interface MakeBasis {
  readonly job: JobSpec;
  readonly folder: ModelFolder;
  readonly plan: EnginePlan;
  /** Folder that a relative calibration source begins at. */
  readonly dataFolder: string;
  readonly threads: number;
}

/**
 * Computes the activation basis of a job from its calibration text.
 * @returns the artifact's bytes
 * @throws OnebyteError PLAN_INVALID, BASIS_INVALID, ENGINE_FAILED, and what `loadRows` and templates throw
 */
export async function makeBasis({ job, folder, plan, dataFolder, threads }: MakeBasis): Promise<Uint8Array> {
  const { calibration, rows: most } = calibrationOf(plan);
  const rows = spread(await loadRows(calibration, { folder: dataFolder }), most);
  const { text } = calibration;
  const source = { name: nameOf(calibration), rows, text };
  const texts = prepareTexts(job.task, folder.tokenizer, folder.model.maxTokens, source);
  const options = { padId: folder.tokenizer.padId, threads };
  const moments = await measureMoments(folder.model, texts, plan.basisRows.keys(), options);
  return encodeBasis(basisOf(moments, plan.basisRows));
}

/** The one calibration source of the plan's activation stages: a run has one basis. */
function calibrationOf({ stages }: EnginePlan): Required<Pick<BasisSpec, 'calibration' | 'rows'>> {
  const specs = stages.flatMap(({ scope, index }) => {
    return scope.type === 'subspace' && scope.basis.type === 'activation' ? [{ index, ...scope.basis }] : [];
  });
  const [first] = specs;
  const field = `method.plan[${first?.index}].scope.basis.calibration`;
  if (first?.calibration === undefined) {
    throw new OnebyteError(
      'PLAN_INVALID',
      `${field} is missing: an activation basis is computed from public text`,
      {
        field,
        remedy: 'name a source of public text, or choose basis.type random',
      },
    );
  }
  const key = (spec: BasisSpec) => JSON.stringify([spec.calibration, spec.rows]);
  const other = specs.find((spec) => key(spec) !== key(first));
  if (other !== undefined) {
    throw new OnebyteError(
      'PLAN_INVALID',
      `stages ${first.index} and ${other.index} name different calibrations`,
      {
        field: `method.plan[${other.index}].scope.basis`,
        remedy: 'give all activation stages of a plan the same calibration and rows',
      },
    );
  }
  return { calibration: first.calibration, rows: first.rows };
}

/** At most `most` items, evenly spread: files are often sorted. */
function spread<T>(items: readonly T[], most: number): T[] {
  const count = Math.min(most, items.length);
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)]!);
}
