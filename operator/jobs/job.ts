import type { FineTuneJob, Spec, Status, Template } from '../../crds/job.ts';
import { type KubeObject, namespaced } from '../kube/mod.ts';
import { ANNOTATIONS, FINALIZER, MANAGER } from './names.ts';
import type { Room } from './world.ts';

/** A job as the API server keeps it. */
export interface Job extends KubeObject {
  spec: Spec;
  status?: Status;
}

export const fineTuneJobs = namespaced<Job>('onebyte.dev/v1alpha1', 'FineTuneJob', 'finetunejobs');

/** Workers with the same data and pod template. */
export interface WorkerGroup {
  /** '' for the workers of `spec.data`. */
  readonly name: string;
  readonly replicas: number;
  /** Pod templates, each put over the ones before it: the job's, then the group's. */
  readonly templates: readonly Template[];
}

/** The workers of `spec.data` where there are any, then the job's groups. */
export function groupsOf(spec: Spec): WorkerGroup[] {
  const common = spec.template ? [spec.template] : [];
  const own = spec.data ? [{ name: '', replicas: spec.replicas, templates: common }] : [];
  const groups = (spec.groups ?? []).map(({ name, replicas, template }) => ({
    name,
    replicas,
    templates: template ? [...common, template] : common,
  }));
  return [...own, ...groups];
}

/** Whether this operator is to take care of the job. */
export function isOurs(job: Job): boolean {
  return (job.spec.managedBy ?? MANAGER) === MANAGER;
}

export function hasFinalizer(job: Job): boolean {
  return job.metadata.finalizers?.includes(FINALIZER) ?? false;
}

/** Whether a person asked for the stream to outlive the job. */
export function keepsStream(job: Job): boolean {
  return job.metadata.annotations?.[ANNOTATIONS.keepStream] === 'true';
}

/** What the job's log needs. */
export function roomOf({ spec }: Job): Room {
  return { workers: spec.max, copies: spec.nats?.replicas ?? 1 };
}

/** The job as a file that `onebyte worker` reads: without what may change while workers run. */
export function jobFile(job: Job): Pick<FineTuneJob, 'apiVersion' | 'kind' | 'metadata'> & { spec: object } {
  const { name, namespace, uid } = job.metadata;
  const { seed, model, task, method, stop, evaluation, checkpoint, data, groups, output } = job.spec;
  return {
    apiVersion: 'onebyte.dev/v1alpha1',
    kind: 'FineTuneJob',
    metadata: { name, ...(namespace && { namespace }), ...(uid && { uid }) },
    spec: {
      // Numbers of workers are the operator's business; the file's reader is not to judge them.
      ...{ replicas: 1, min: 1, max: 4_096 },
      ...{ seed, model, task, method, stop, evaluation, checkpoint },
      ...(data && { data }),
      ...(groups && { groups: groups.map(({ name, data }) => ({ name, ...(data && { data }) })) }),
      ...(output && { output: { uri: output.uri, formats: output.formats } }),
    },
  };
}
