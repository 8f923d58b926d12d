import type { Pod } from '../kube/mod.ts';
import { WORKER_CONTAINER } from './names.ts';

/**
 * What goes wrong with workers. Who tries again, and with what back-off:
 *
 * - `kubelet`: the pod stays; its container is started again after 10 s, 20 s, ... at most 5 minutes;
 * - `scheduler`: the pod stays and is placed as soon as it fits;
 * - `operator`: the pod is gone for good; another takes its place, at once the first time, then after 10 s, 20 s, ...
 *   at most 5 minutes.
 *
 * No trouble fails the job: what is retried may heal. A trouble that `stalls` makes the job stalled once it lasts
 * longer than its patience while fewer than `min` workers have joined, since a person has to do something.
 */
export interface Policy {
  readonly retriedBy: 'kubelet' | 'scheduler' | 'operator';
  readonly stalls: boolean;
  /** Milliseconds from the pod's creation. */
  readonly patience: number;
  /** What a person can do. */
  readonly advice: string;
}

const SECOND = 1_000;

/** Names of troubles are reasons of conditions too. */
export const POLICIES = {
  ImagePullFailed: {
    retriedBy: 'kubelet',
    stalls: true,
    patience: 30 * SECOND,
    advice: 'check image and imagePullSecrets of the container worker in spec.template',
  },
  ContainerConfigInvalid: {
    retriedBy: 'kubelet',
    stalls: true,
    patience: 30 * SECOND,
    advice:
      'check the Secrets and config maps that spec.template and spec.nats name, and the security context',
  },
  Unschedulable: {
    retriedBy: 'scheduler',
    stalls: true,
    patience: 120 * SECOND,
    advice: 'add nodes, ask for less in spec.template, or lower replicas',
  },
  /** A queue such as Kueue holds the pod back. That is its business, and no fault. */
  SchedulingGated: { retriedBy: 'scheduler', stalls: false, patience: 0, advice: 'wait for the queue' },
  OutOfMemory: {
    retriedBy: 'kubelet',
    stalls: true,
    patience: 0,
    advice: 'raise resources.limits.memory of the container worker in spec.template, or lower the batch',
  },
  /** The worker ended with exit code 2: what it was given is wrong. */
  InputRefused: {
    retriedBy: 'kubelet',
    stalls: true,
    patience: 0,
    advice: 'correct what the message names; data and model cannot change in a job, so make a new one',
  },
  CrashLooping: {
    retriedBy: 'kubelet',
    stalls: true,
    patience: 0,
    advice: "look at the worker's log: kubectl logs --previous",
  },
  /** By a drain, a preemption, a node's pressure: no fault of the worker's, and never counted. */
  Evicted: { retriedBy: 'operator', stalls: false, patience: 0, advice: 'nothing: it is replaced' },
  NodeLost: { retriedBy: 'operator', stalls: false, patience: 0, advice: 'nothing: it is replaced' },
  /** The node would not take the pod that the scheduler gave it. */
  NodeRefused: {
    retriedBy: 'operator',
    stalls: true,
    patience: 120 * SECOND,
    advice: 'check the node: its device plugins and what is free on it',
  },
  PodFailed: {
    retriedBy: 'operator',
    stalls: true,
    patience: 120 * SECOND,
    advice: "look at the worker's log and its pod's status",
  },
  /** The worker ended well although the run goes on: it was told to leave. */
  WorkerLeft: { retriedBy: 'operator', stalls: false, patience: 0, advice: 'nothing: it is replaced' },
} as const satisfies Record<string, Policy>;
export type TroubleKind = keyof typeof POLICIES;

export interface Trouble {
  readonly kind: TroubleKind;
  /** What happened, for people; without the pod's name. */
  readonly detail: string;
  /** How often the container was started again. */
  readonly restarts: number;
}

type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];

const IMAGE_REASONS = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]);
const CONFIG_REASONS = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'PreCreateHookError',
  'PostStartHookError',
]);
const EVICTION_REASONS = new Set([
  'Evicted',
  'Preempted',
  'Preempting',
  'Terminated',
  'NodeShutdown',
  'Shutdown',
]);
/** One crash may be chance; from the third start on somebody should look. */
const CRASHES = 3;
const CLEAN_EXIT = 0;
const BAD_INPUT = 2;

/** What is wrong with a pod, if anything. */
export function troubleOf(pod: Pod): Trouble | null {
  const status = pod.status ?? {};
  if (status.phase === 'Failed' || status.phase === 'Succeeded') return endOf(pod);
  const scheduled = status.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    const kind = scheduled.reason === 'SchedulingGated' ? 'SchedulingGated' : 'Unschedulable';
    return { kind, detail: scheduled.message ?? 'no node takes it', restarts: 0 };
  }
  const worker = containerOf(pod);
  return worker === undefined ? null : containerTrouble(worker);
}

export function containerOf(pod: Pod): ContainerStatus | undefined {
  return pod.status?.containerStatuses?.find(({ name }) => name === WORKER_CONTAINER);
}

function containerTrouble(worker: ContainerStatus): Trouble | null {
  const { waiting, terminated } = worker.state ?? {};
  const restarts = worker.restartCount ?? 0;
  const reason = waiting?.reason ?? '';
  const said = waiting?.message ?? '';
  if (IMAGE_REASONS.has(reason))
    return { kind: 'ImagePullFailed', detail: said || `${reason} of ${worker.image}`, restarts };
  if (CONFIG_REASONS.has(reason)) return { kind: 'ContainerConfigInvalid', detail: said || reason, restarts };
  const last = terminated ?? worker.lastState?.terminated;
  // A container that runs again and is ready has healed.
  if (last === undefined || worker.ready || last.exitCode === CLEAN_EXIT) return null;
  const message = last.message?.trim();
  const detail = message || `exit code ${last.exitCode}`;
  if (last.exitCode === BAD_INPUT) return { kind: 'InputRefused', detail, restarts };
  if (restarts < CRASHES && reason !== 'CrashLoopBackOff') return null;
  if (last.reason === 'OOMKilled')
    return { kind: 'OutOfMemory', detail: `it was killed ${times(restarts)} for lack of memory`, restarts };
  return { kind: 'CrashLooping', detail: `it ended ${times(restarts)}: ${detail}`, restarts };
}

function endOf(pod: Pod): Trouble {
  const { phase, reason = '', message, conditions } = pod.status ?? {};
  if (phase === 'Succeeded') return { kind: 'WorkerLeft', detail: 'it left', restarts: 0 };
  const disrupted = conditions?.find(({ type, status }) => type === 'DisruptionTarget' && status === 'True');
  const said = message || disrupted?.message || reason || 'the pod failed';
  if (reason === 'NodeLost' || disrupted?.reason === 'DeletionByPodGC')
    return { kind: 'NodeLost', detail: said, restarts: 0 };
  if (disrupted !== undefined || EVICTION_REASONS.has(reason))
    return { kind: 'Evicted', detail: said, restarts: 0 };
  // Reasons of the kubelet's admission, such as OutOfcpu, UnexpectedAdmissionError and NodeAffinity.
  if (reason !== '' && containerOf(pod)?.state?.terminated === undefined)
    return { kind: 'NodeRefused', detail: said, restarts: 0 };
  const exit = containerOf(pod)?.state?.terminated;
  return { kind: 'PodFailed', detail: exit?.message?.trim() || said, restarts: 0 };
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

const FIRST_WAIT = 10 * SECOND;
const LONGEST_WAIT = 300 * SECOND;

/** Milliseconds to wait before try number `failures` + 1 (0 for the first try after a single failure). */
export function waitAfter(failures: number): number {
  return failures <= 0 ? 0 : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(failures - 1, 30));
}
