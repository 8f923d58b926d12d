/** From a job as the API knows it to what training reads of it. */

import { canonicalJson } from '../worker/journal/canonical.ts';
import type { JobSpec, SourceSpec, TaskSpec } from '../worker/journal/job.ts';
import type { FineTuneJob, Spec } from './job.ts';

/**
 * The part of a checked job that every replica must agree on. Workers, data, pods and places are left out: they may
 * differ from one member to the next, and a replay needs none of them.
 */
export function toJobSpec(job: FineTuneJob): JobSpec {
  const { seed, model, task, method, stop, evaluation, checkpoint } = structuredClone(job.spec);
  // The rules of the CRD say which fields belong to which type.
  return { seed, model, task: task as TaskSpec, method, stop, evaluation, checkpoint };
}

/** What the genesis record carries: canonical JSON of `{name, spec}`. */
export function jobText(job: FineTuneJob): string {
  return canonicalJson({ name: job.metadata.name, spec: toJobSpec(job) });
}

/** Sources of a member's data: those of its group, or the job's where the group has none. */
export function sourcesFor(spec: Spec, group: string): Record<'train' | 'validation' | 'test', SourceSpec[]> {
  const data = spec.groups?.find((g) => g.name === group)?.data ?? spec.data;
  return { train: data?.train ?? [], validation: data?.validation ?? [], test: data?.test ?? [] };
}
