import { createHash } from 'node:crypto';
import type { Pod } from '../kube/mod.ts';
import { fineTuneJobs, groupsOf, type Job, type WorkerGroup } from './job.ts';
import { merge } from './merge.ts';
import {
  ANNOTATIONS,
  COMPONENTS,
  LABELS,
  MANAGED_BY,
  PATHS,
  PROBE_PATHS,
  WORKER_CONTAINER,
  WORKER_PORT,
} from './names.ts';
import { natsSources, natsVariables } from './pod-nats.ts';

/** What the operator is set up with and every pod of every job gets. */
export interface PodSettings {
  readonly image: string;
  readonly imagePullPolicy?: string;
  readonly imagePullSecrets?: readonly string[];
  /** Used where a job says nothing in `spec.nats`. */
  readonly natsUrl: string;
  /** Secret in the job's namespace with the workers' credentials, where a job names none. */
  readonly natsSecret?: string;
  readonly natsPrefix?: string;
  /** JetStream domain of `natsUrl`, and whether it expects TLS before its first word. */
  readonly natsDomain?: string;
  readonly natsTlsFirst?: boolean;
}

export interface WorkerIdentity {
  readonly name: string;
  readonly group: string;
  readonly index: number;
  /** Failures in a row of the pods that it replaces. */
  readonly failures: number;
  /** Secret with credentials of its own. */
  readonly secret?: string | undefined;
}

type PodSpec = NonNullable<Pod['spec']>;
type Container = PodSpec['containers'][number];
type Probe = NonNullable<Container['startupProbe']>;

/** Seconds that a worker has to leave: a round, and the next proposer's patience. */
const LEAVE_SECONDS = 60;
/** Seconds that the first worker has to begin the run, so that not all who are up at once compute the same. */
const HEAD_START_SECONDS = 1;
/** A lost node's workers are replaced after so long; the protocol minds neither two nor none. */
const NODE_LOST_SECONDS = 30;
const USER = 65532;

export function workerName(job: string, group: string, index: number): string {
  return group === '' ? `${job}-${index}` : `${job}-${group}-${index}`;
}

export function exportName(job: string): string {
  return `${job}-export`;
}

/** Name of config map, service account, service and disruption budget. */
export function childName(job: string): string {
  return `${job}-workers`;
}

/** Bears the job's UID, so that no Secret of somebody else's has this name. */
export function secretName(job: Job, worker: string): string {
  return `${worker}-${job.metadata.uid!.slice(0, 8)}`;
}

export function ownerOf(job: Job): NonNullable<Pod['metadata']['ownerReferences']>[number] {
  const { name, uid } = job.metadata;
  const { group, version, kind } = fineTuneJobs;
  return {
    apiVersion: `${group}/${version}`,
    kind,
    name,
    uid: uid!,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Labels of everything that belongs to a job. */
export function labelsOf(job: Job): Record<string, string> {
  const { name } = job.metadata;
  return {
    [LABELS.name]: 'onebyte',
    [LABELS.instance]: name,
    [LABELS.managedBy]: MANAGED_BY,
    [LABELS.job]: name,
  };
}

/**
 * Digest of what a person may change of a group's pods. What the operator itself brings, such as the image of its
 * release, is left out: an upgrade of the operator replaces no worker.
 */
export function templateHash(job: Job, group: WorkerGroup): string {
  return digest([group.templates, job.spec.nats ?? null]);
}

/** Digest of what a person may change of the pod that writes the model. The log's copies are nothing of it. */
export function exportHash({ spec }: Job): string {
  const { replicas: _, ...nats } = spec.nats ?? {};
  return digest([spec.template ?? null, spec.output ?? null, nats]);
}

export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}

/** The pod of one worker. */
export function workerPod(job: Job, identity: WorkerIdentity, settings: PodSettings): Pod {
  const group = groupsOf(job.spec).find(({ name }) => name === identity.group);
  if (group === undefined) throw new Error(`${job.metadata.name} has no group ${identity.group}`);
  const pod = podOf(job, settings, {
    name: identity.name,
    args: ['worker'],
    templates: group.templates,
    secret: identity.secret,
    group: identity.group,
    labels: {
      [LABELS.component]: COMPONENTS.worker,
      [LABELS.group]: identity.group,
      [LABELS.index]: String(identity.index),
    },
    annotations: {
      [ANNOTATIONS.template]: templateHash(job, group),
      ...(identity.failures > 0 && { [ANNOTATIONS.failures]: String(identity.failures) }),
    },
  });
  const worker = pod.spec!.containers.find(({ name }) => name === WORKER_CONTAINER)!;
  Object.assign(worker, probes());
  const first = groupsOf(job.spec).find(({ replicas }) => replicas > 0);
  if (identity.index > 0 || group.name !== first?.name)
    worker.env!.push({ name: 'ONEBYTE_HEAD_START_SECONDS', value: String(HEAD_START_SECONDS) });
  return pod;
}

/** The pod that writes the tuned model to `spec.output`, of the job's own template. */
export function exportPod(job: Job, settings: PodSettings, secret?: string): Pod {
  const pod = podOf(job, settings, {
    name: exportName(job.metadata.name),
    args: ['export-run'],
    templates: job.spec.template ? [job.spec.template] : [],
    secret,
    group: '',
    labels: { [LABELS.component]: COMPONENTS.export },
    annotations: { [ANNOTATIONS.template]: exportHash(job) },
  });
  const name = job.spec.output?.credentialsSecret;
  const container = pod.spec!.containers.find((one) => one.name === WORKER_CONTAINER)!;
  if (name !== undefined) container.envFrom = [...(container.envFrom ?? []), { secretRef: { name } }];
  return pod;
}

interface Draft {
  readonly name: string;
  readonly args: readonly string[];
  readonly templates: WorkerGroup['templates'];
  readonly secret: string | undefined;
  readonly group: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function podOf(job: Job, settings: PodSettings, draft: Draft): Pod {
  const { namespace } = job.metadata;
  const { templates } = draft;
  const spec = templates.reduce<PodSpec>(
    (base, { spec }) => merge(base, spec ?? {}),
    defaults(job, settings),
  );
  const labels = Object.assign({}, ...templates.map(({ metadata }) => metadata?.labels));
  const annotations = Object.assign({}, ...templates.map(({ metadata }) => metadata?.annotations));
  return {
    metadata: {
      name: draft.name,
      ...(namespace && { namespace }),
      labels: { ...labels, ...labelsOf(job), ...draft.labels },
      annotations: { ...annotations, ...draft.annotations },
      ownerReferences: [ownerOf(job)],
    },
    spec: merge(spec, ours(job, settings, draft)),
  };
}

/** What a template may change. Meets the restricted pod security standard. */
function defaults(job: Job, settings: PodSettings): PodSpec {
  const container: Container = {
    name: WORKER_CONTAINER,
    image: settings.image,
    ...(settings.imagePullPolicy && { imagePullPolicy: settings.imagePullPolicy }),
    // A person reads why a worker ended in its status; without a message the end of its log says it.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    // Relative paths of data begin here: mount data there, or say otherwise.
    env: [{ name: 'ONEBYTE_FOLDER', value: PATHS.data }],
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
  };
  return {
    containers: [container],
    serviceAccountName: childName(job.metadata.name),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: LEAVE_SECONDS,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    tolerations: ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].map((key) => ({
      key,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: NODE_LOST_SECONDS,
    })),
    volumes: [
      { name: 'cache', emptyDir: {} },
      { name: 'scratch', emptyDir: {} },
    ],
    ...(settings.imagePullSecrets?.length && {
      imagePullSecrets: settings.imagePullSecrets.map((name) => ({ name })),
    }),
  };
}

/** What no template changes. */
function ours(job: Job, settings: PodSettings, draft: Draft): PodSpec {
  const sources = natsSources(job, settings, draft.secret);
  const nats = sources.length > 0;
  const container: Container = {
    name: WORKER_CONTAINER,
    command: ['onebyte'],
    args: [...draft.args],
    ports: [{ name: WORKER_PORT.name, containerPort: WORKER_PORT.number }],
    env: Object.entries(environment(job, settings, draft, nats)).map(([name, value]) => ({ name, value })),
    volumeMounts: [
      { name: 'onebyte-job', mountPath: PATHS.job, readOnly: true },
      { name: 'cache', mountPath: PATHS.cache },
      { name: 'scratch', mountPath: PATHS.scratch },
      ...(nats ? [{ name: 'onebyte-nats', mountPath: PATHS.nats, readOnly: true }] : []),
    ],
  };
  return {
    // The kubelet starts a worker that failed again, with its own back-off and with the model still in the cache.
    restartPolicy: 'OnFailure',
    containers: [container],
    volumes: [
      { name: 'onebyte-job', configMap: { name: childName(job.metadata.name) } },
      ...(nats ? [{ name: 'onebyte-nats', projected: { defaultMode: 0o440, sources } }] : []),
    ],
  };
}

function environment(
  job: Job,
  settings: PodSettings,
  draft: Draft,
  hasSecret: boolean,
): Record<string, string> {
  return {
    ONEBYTE_JOB: PATHS.jobFile,
    ONEBYTE_JOB_UID: job.metadata.uid!,
    ONEBYTE_WORKER: draft.name,
    ONEBYTE_GROUP: draft.group,
    ONEBYTE_MIN_WORKERS: String(job.spec.min),
    ONEBYTE_PORT: String(WORKER_PORT.number),
    ONEBYTE_CACHE: PATHS.cache,
    ...natsVariables(job, settings),
    ...(hasSecret && { ONEBYTE_NATS_SECRET: PATHS.nats }),
  };
}

function probes(): Partial<Container> {
  const get = (path: string): Probe => ({ httpGet: { path, port: WORKER_PORT.number } });
  return {
    // Loading a model may take an hour over a bad line. Who is up is ready at once: the kubelet then asks for that, too.
    startupProbe: { ...get(PROBE_PATHS.startup), periodSeconds: 1, failureThreshold: 3600 },
    livenessProbe: { ...get(PROBE_PATHS.live), periodSeconds: 20, timeoutSeconds: 5, failureThreshold: 6 },
    // Ready means joined: a disruption budget then counts workers that train.
    readinessProbe: { ...get(PROBE_PATHS.ready), periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 3 },
  };
}
