import { wantedWorkers } from '../../crds/job.ts';
import { configMaps, type KubeObject, podDisruptionBudgets, serviceAccounts, services } from '../kube/mod.ts';
import { type Job, jobFile } from './job.ts';
import { ANNOTATIONS, COMPONENTS, LABELS, WORKER_PORT } from './names.ts';
import { childName, digest, labelsOf, ownerOf } from './pod.ts';

/** Kinds of objects that every job has one of, by their names in the API. */
export const CHILD_RESOURCES = {
  ConfigMap: configMaps,
  ServiceAccount: serviceAccounts,
  Service: services,
  PodDisruptionBudget: podDisruptionBudgets,
} as const;
export type ChildKind = keyof typeof CHILD_RESOURCES;

/** One of them, as it should be. */
export interface Child {
  readonly kind: ChildKind;
  readonly object: KubeObject;
  /** Digest of the object; also its annotation. */
  readonly hash: string;
}

/** All of a job's children. Pure: the same job gives the same objects. */
export function childrenOf(job: Job): Child[] {
  const selector = { [LABELS.job]: job.metadata.name, [LABELS.component]: COMPONENTS.worker };
  return [
    child(job, 'ConfigMap', { data: { 'job.yaml': `${JSON.stringify(jobFile(job), null, 2)}\n` } }),
    child(job, 'ServiceAccount', { automountServiceAccountToken: false }),
    child(job, 'Service', {
      spec: {
        clusterIP: 'None',
        selector,
        // Workers find each other through the log; this is for those who scrape or look at them.
        publishNotReadyAddresses: true,
        ports: [{ name: WORKER_PORT.name, port: WORKER_PORT.number, targetPort: WORKER_PORT.number }],
      },
    }),
    child(job, 'PodDisruptionBudget', {
      spec: {
        minAvailable: leastAvailable(job),
        selector: { matchLabels: selector },
        // One that has not joined is missed by nobody: by default it could not be evicted while too few have.
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
      },
    }),
  ];
}

/**
 * Workers that an eviction must leave: `min`, but always one less than there are, or a node with a worker of a small
 * job could never be drained. A worker that goes costs nothing but its share of a round.
 */
function leastAvailable({ spec }: Job): number {
  return Math.max(0, Math.min(spec.min, wantedWorkers(spec) - 1));
}

function child(job: Job, kind: ChildKind, body: object): Child {
  const { namespace, name } = job.metadata;
  const hash = digest(body);
  const object = {
    metadata: {
      name: childName(name),
      ...(namespace && { namespace }),
      labels: labelsOf(job),
      annotations: { [ANNOTATIONS.hash]: hash },
      ownerReferences: [ownerOf(job)],
    },
    ...body,
  };
  return { kind, object, hash };
}
