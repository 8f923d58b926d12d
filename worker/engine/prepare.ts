import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { cacheFolder } from '../data/cache.ts';
import { parseJob } from '../journal/job-text.ts';
import type { ArtifactReference, GenesisRecord } from '../journal/record.ts';
import { type ModelFolder, openModelFolder } from '../model/folder.ts';
import { sizeOf } from '../model/tensor.ts';
import { writeArtifact } from './artifact.ts';
import type { Basis } from './basis.ts';
import { decodeBasis } from './basis-file.ts';
import { makeBasis } from './make-basis.ts';
import { openReplica } from './open.ts';
import { type EnginePlan, planEngine } from './plan.ts';

export interface Preparation {
  /** Canonical `{name, spec}`. */
  readonly jobText: string;
  /** What a new run is called by; by default something random. */
  readonly uid?: string;
  /** Folder that relative paths of the job begin at. */
  readonly folder: string;
  /** Where the run keeps its artifacts. */
  readonly artifacts: string;
  readonly threads: number;
  readonly log: (line: string) => void;
}

export interface Prepared {
  readonly genesis: GenesisRecord;
  readonly modelDir: string;
  /** Weights of the whole model, and trained ones of each stage. */
  readonly weights: number;
  readonly trained: readonly number[];
}

/**
 * Everything that the genesis record says, computed once: basis, grid and start state.
 * @param known the genesis of a run that goes on; what it says holds
 */
export async function prepare(
  modelDir: string,
  preparation: Preparation,
  now: () => number,
  known: GenesisRecord | null,
): Promise<Prepared> {
  const { job } = parseJob(preparation.jobText);
  const model = await openModelFolder(modelDir, job.model);
  const plan = planEngine(job, model.model);
  const genesis = known ?? (await makeGenesis(model, plan, preparation, now()));
  const sizes = plan.tensors.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return {
    genesis,
    modelDir,
    weights: [...model.model.weights.values()].reduce((sum, view) => sum + sizeOf(view), 0),
    trained: plan.stages.map(({ perturbed }) => perturbed.reduce((sum, index) => sum + sizes[index]!, 0)),
  };
}

async function makeGenesis(
  folder: ModelFolder,
  plan: EnginePlan,
  { jobText, uid, folder: dataFolder, artifacts, threads, log }: Preparation,
  at: number,
): Promise<GenesisRecord> {
  const { job } = parseJob(jobText);
  const references: ArtifactReference[] = [];
  let basis: Basis | null = null;
  if (plan.basisRows.size > 0) {
    log('reading the calibration text for the basis');
    const bytes = await makeBasis({ job, folder, plan, dataFolder, threads });
    const digest = await writeArtifact(bytes, artifacts);
    await writeArtifact(bytes, join(cacheFolder(), 'artifacts'));
    references.push({ name: 'basis', digest, bytes: bytes.length });
    basis = decodeBasis(bytes);
  }
  const { replica } = openReplica(folder.model, job, basis);
  return {
    kind: 'genesis',
    uid: uid ?? randomUUID(),
    at,
    job: jobText,
    base: folder.digests.weights,
    tokenizer: folder.digests.tokenizer,
    tensors: plan.tensors,
    state: replica.digest(),
    artifacts: references,
  };
}
