/** The job as it is after defaulting. Names for the parts of the generated type. */
import type { FineTuneJob as Generated } from './finetunejob.gen.ts';

export const API_VERSION = 'onebyte.dev/v1alpha1';
export const KIND = 'FineTuneJob';

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [other: string]: unknown;
}

export interface FineTuneJob extends Generated {
  apiVersion: typeof API_VERSION;
  kind: typeof KIND;
  metadata: Metadata;
}

export type Spec = Generated['spec'];
export type Status = NonNullable<Generated['status']>;
export type Data = NonNullable<Spec['data']>;
export type Source = Data['train'][number];
export type Group = NonNullable<Spec['groups']>[number];
export type Template = NonNullable<Spec['template']>;
export type Stage = Spec['method']['plan'][number];
export type Scope = Stage['scope'];
export type Estimator = Spec['method']['estimator'];

/** Workers that the job asks for: those of `spec.data`, and those of each group. */
export function wantedWorkers(spec: Spec): number {
  const own = spec.data ? spec.replicas : 0;
  return (spec.groups ?? []).reduce((sum, group) => sum + group.replicas, own);
}
