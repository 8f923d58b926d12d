/** Every name that the operator gives to something outside of this process. */

/** Value of `spec.managedBy` that means this operator. */
export const MANAGER = 'onebyte.dev/operator';
/** Owner of the fields that this operator applies. */
export const FIELD_MANAGER = 'onebyte-operator';
/** Name of the Lease that elects the operator's leader. */
export const LEASE = 'onebyte-operator';

/** Keeps a job until its stream is gone. */
export const FINALIZER = 'onebyte.dev/stream';

export const LABELS = {
  name: 'app.kubernetes.io/name',
  instance: 'app.kubernetes.io/instance',
  component: 'app.kubernetes.io/component',
  managedBy: 'app.kubernetes.io/managed-by',
  /** Name of the job. */
  job: 'onebyte.dev/job',
  /** Name of the worker's group; empty for the workers of `spec.data`. */
  group: 'onebyte.dev/group',
  /** Number of the worker within its group. */
  index: 'onebyte.dev/index',
} as const;

export const MANAGED_BY = 'onebyte-operator';
/** Everything that the operator makes, and nothing else. */
export const OWN_SELECTOR = `${LABELS.managedBy}=${MANAGED_BY}`;

export const COMPONENTS = { worker: 'worker', export: 'export' } as const;

export const ANNOTATIONS = {
  /** On a child: digest of what it was made from. */
  hash: 'onebyte.dev/hash',
  /** On a pod: digest of the parts of the job that make its template. */
  template: 'onebyte.dev/template',
  /** On a pod: failures in a row of the pods that it replaces. */
  failures: 'onebyte.dev/failures',
  /** On a job, by a person: `true` keeps the stream when the job is deleted. */
  keepStream: 'onebyte.dev/keep-stream',
} as const;

/** Name of the container that trains. */
export const WORKER_CONTAINER = 'worker';
/** Ports of a worker: probes and metrics are served on one. */
export const WORKER_PORT = { name: 'metrics', number: 9090 } as const;
export const PROBE_PATHS = { startup: '/startupz', live: '/livez', ready: '/readyz' } as const;

/** Where a worker finds things. */
export const PATHS = {
  job: '/etc/onebyte/job',
  jobFile: '/etc/onebyte/job/job.yaml',
  nats: '/etc/onebyte/nats',
  cache: '/var/cache/onebyte',
  data: '/data',
  scratch: '/tmp',
} as const;

export const CONDITIONS = {
  succeeded: 'Succeeded',
  ready: 'Ready',
  reconciling: 'Reconciling',
  stalled: 'Stalled',
  suspended: 'Suspended',
  scaled: 'Scaled',
} as const;
export type ConditionType = (typeof CONDITIONS)[keyof typeof CONDITIONS];

/** Reasons of `Succeeded`: the column State. */
export const STATES = {
  pending: 'Pending',
  waiting: 'WaitingForWorkers',
  running: 'Running',
  suspended: 'Suspended',
  exporting: 'Exporting',
  completed: 'Completed',
  cancelled: 'Cancelled',
  deadline: 'DeadlineExceeded',
  invalidInput: 'InvalidInput',
  exportFailed: 'ExportFailed',
} as const;

/** Reasons of the other conditions, beside the kinds of trouble in `trouble.ts`. */
export const REASONS = {
  enough: 'EnoughWorkers',
  tooFew: 'TooFewWorkers',
  logUnknown: 'LogUnknown',
  finished: 'Finished',
  settled: 'Settled',
  scaling: 'Scaling',
  ending: 'EndingWorkers',
  suspended: 'Suspended',
  suspending: 'Suspending',
  active: 'Active',
  scalingUp: 'ScalingUp',
  scalingDown: 'ScalingDown',
  replacing: 'ReplacingWorkers',
  atMin: 'AtMin',
  atMax: 'AtMax',
  stable: 'Stable',
  notStalled: 'NotStalled',
  noProgress: 'ProgressDeadlineExceeded',
  logUnavailable: 'LogUnavailable',
  logLost: 'LogLost',
  childRefused: 'ObjectRefused',
} as const;

/** Reasons of events. */
export const EVENTS = {
  streamCreated: 'StreamCreated',
  streamFailed: 'StreamProvisionFailed',
  streamRemoved: 'StreamRemoved',
  streamRemovalFailed: 'StreamRemovalFailed',
  podsCreated: 'WorkerPodsCreated',
  podsRefused: 'WorkerPodCreateFailed',
  podReplaced: 'WorkerReplaced',
  podRemoved: 'WorkerRemoved',
  podOutdated: 'WorkerOutdated',
  exportStarted: 'ExportStarted',
  started: 'RunStarted',
  quorum: 'QuorumReached',
  quorumLost: 'QuorumLost',
  suspended: 'JobSuspended',
  resumed: 'JobResumed',
  stalled: 'JobStalled',
  unstalled: 'JobUnstalled',
  completed: 'JobCompleted',
  failed: 'JobFailed',
  expired: 'JobExpired',
} as const;
