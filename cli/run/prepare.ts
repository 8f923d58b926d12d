import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { cacheFolder, resolveModel } from '../../worker/data/cache.ts';
import { writeArtifact } from '../../worker/engine/artifact.ts';
import type { Basis } from '../../worker/engine/basis.ts';
import { decodeBasis } from '../../worker/engine/basis-file.ts';
import { makeBasis } from '../../worker/engine/make-basis.ts';
import { openReplica } from '../../worker/engine/open.ts';
import { type EnginePlan, planEngine } from '../../worker/engine/plan.ts';
import { parseJob } from '../../worker/journal/job-text.ts';
import type { ArtifactReference, GenesisRecord } from '../../worker/journal/record.ts';
import { type ModelFolder, openModelFolder } from '../../worker/model/folder.ts';

export interface Preparation {
  /** Canonical `{name, spec}`. */
  readonly jobText: string;
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

/** The folder of the job's model. */
export function modelOf(
  jobText: string,
  { folder, log }: Pick<Preparation, 'folder' | 'log'>,
): Promise<string> {
  return resolveModel(parseJob(jobText).job.model, { folder, log });
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
  const model = await openModelFolder(modelDir);
  const plan = planEngine(job, model.model);
  const genesis = known ?? (await makeGenesis(model, plan, preparation, now()));
  const sizes = plan.tensors.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return {
    genesis,
    modelDir,
    weights: [...model.model.weights.values()].reduce((sum, { data }) => sum + data.length, 0),
    trained: plan.stages.map(({ perturbed }) => perturbed.reduce((sum, index) => sum + sizes[index]!, 0)),
  };
}

async function makeGenesis(
  folder: ModelFolder,
  plan: EnginePlan,
  { jobText, folder: dataFolder, artifacts, threads, log }: Preparation,
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
    uid: randomUUID(),
    at,
    job: jobText,
    base: folder.digests.weights,
    tokenizer: folder.digests.tokenizer,
    tensors: plan.tensors,
    state: replica.digest(),
    artifacts: references,
  };
}
