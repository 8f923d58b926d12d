import type { Spec, Status } from '../../../crds/job.ts';
import { parseJobFile } from '../../../crds/validate.ts';
import { type Job, roomOf } from '../../../operator/jobs/job.ts';
import type { LogSummary } from '../../../operator/jobs/log-port.ts';
import { FINALIZER } from '../../../operator/jobs/names.ts';
import { type PodSettings, workerPod } from '../../../operator/jobs/pod.ts';
import { type Worker, workerOf } from '../../../operator/jobs/worker.ts';
import { type LogView, noSetbacks, unasked, type World } from '../../../operator/jobs/world.ts';
import type { Pod } from '../../../operator/kube/mod.ts';

export const NOW = Date.parse('2026-01-01T12:00:00Z');
export const ago = (seconds: number): string => new Date(NOW - seconds * 1_000).toISOString();
export const settings: PodSettings = { image: 'onebyte:1', natsUrl: 'nats://nats:4222' };

/** A manifest as a user writes it, for the API server. */
export function manifest(name: string, spec: object = {}): object {
  return {
    apiVersion: 'onebyte.dev/v1alpha1',
    kind: 'FineTuneJob',
    metadata: { name, namespace: 'default' },
    spec: {
      model: { uri: 'hf://a/b', sha256: '0'.repeat(64) },
      task: { type: 'classification', text: '{text}', label: 'label', labels: ['no', 'yes'] },
      data: { train: [{ name: 'train', uri: 'data/train.jsonl' }] },
      method: { plan: [{ scope: { type: 'head' }, rounds: 100 }] },
      ...spec,
    },
  };
}

/** A job as the API server keeps it, with every default. */
export function jobOf(name = 'tune', spec: object = {}, meta: Partial<Job['metadata']> = {}): Job {
  const { job, mistakes } = parseJobFile(JSON.stringify(manifest(name, spec)));
  if (job === undefined)
    throw new Error(mistakes.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}-0000`,
      generation: 1,
      creationTimestamp: ago(3_600),
      finalizers: [FINALIZER],
      ...meta,
    },
    spec: job.spec as Spec,
  };
}

export type PodState =
  | 'pending'
  | 'starting'
  | 'ready'
  | 'joined'
  | 'leaving'
  | 'left'
  | 'evicted'
  | 'failed'
  | 'image-error'
  | 'unschedulable'
  | 'gated'
  | 'oom'
  | 'crash-loop'
  | 'refused';

type Container = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
const container = (fields: object): Container =>
  ({
    name: 'worker',
    image: 'onebyte:1',
    imageID: '',
    ready: false,
    restartCount: 0,
    ...fields,
  }) as Container;

/** The status of a pod as kubelet and scheduler write it. */
export function podStatus(state: PodState): NonNullable<Pod['status']> {
  const time = { lastTransitionTime: ago(60) };
  const scheduled = { type: 'PodScheduled', status: 'True', ...time };
  const running = { running: { startedAt: ago(60) } };
  const crashed = (exitCode: number, reason: string, message: string) => ({
    state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 40s' } },
    lastState: { terminated: { exitCode, reason, message, finishedAt: ago(20) } },
    restartCount: 4,
  });
  const not = { type: 'Ready', status: 'False', ...time };
  const active = (fields: object) => ({
    phase: 'Pending',
    conditions: [scheduled, not],
    containerStatuses: [container(fields)],
  });
  const over = (phase: string, fields: object, exitCode: number) => ({
    phase,
    conditions: [scheduled, not],
    containerStatuses: [container({ state: { terminated: { exitCode, finishedAt: ago(60) } } })],
    ...fields,
  });
  switch (state) {
    case 'pending':
      return { phase: 'Pending' };
    case 'starting':
      return { ...active({ state: running, started: false }), phase: 'Running' };
    case 'ready':
      return { ...active({ state: running, started: true }), phase: 'Running' };
    case 'joined':
    case 'leaving':
      return {
        phase: 'Running',
        conditions: [scheduled, { type: 'Ready', status: 'True', ...time }],
        containerStatuses: [container({ state: running, started: true, ready: true })],
      };
    case 'left':
      return over('Succeeded', {}, 0);
    case 'evicted':
      return over('Failed', { reason: 'Evicted', message: 'the node was low on memory' }, 137);
    case 'failed':
      return { phase: 'Failed', reason: 'UnexpectedAdmissionError', message: 'no GPU', conditions: [not] };
    case 'image-error':
      return active({
        state: { waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling image "x"' } },
      });
    case 'unschedulable':
      return {
        phase: 'Pending',
        conditions: [
          {
            type: 'PodScheduled',
            status: 'False',
            reason: 'Unschedulable',
            message: '0/3 nodes fit',
            ...time,
          },
        ],
      };
    case 'gated':
      return {
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', ...time }],
      };
    case 'oom':
      return { ...active(crashed(137, 'OOMKilled', '')), phase: 'Running' };
    case 'crash-loop':
      return { ...active(crashed(1, 'Error', 'error ENGINE_FAILED: no such device')), phase: 'Running' };
    case 'refused':
      return {
        ...active(crashed(2, 'Error', 'error DATA_MISSING: data/train.jsonl is not there')),
        phase: 'Running',
      };
  }
}

export interface PodOptions {
  readonly group?: string;
  readonly index?: number;
  /** Seconds since it was made. */
  readonly age?: number;
  readonly failures?: number;
}

/** A pod of a job, as it is in the store. */
export function podOf(job: Job, state: PodState, options: PodOptions = {}): Pod {
  const { group = '', index = 0, age = 600, failures = 0 } = options;
  const name = group === '' ? `${job.metadata.name}-${index}` : `${job.metadata.name}-${group}-${index}`;
  const pod = workerPod(job, { name, group, index, failures }, settings);
  const deletionTimestamp = new Date(NOW + 30_000).toISOString();
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      uid: `uid-${name}`,
      creationTimestamp: ago(age),
      ...(state === 'leaving' && { deletionTimestamp }),
    },
    status: podStatus(state),
  };
}

export const workersOf = (job: Job, ...states: PodState[]): Worker[] =>
  states.map((state, index) => workerOf(podOf(job, state, { index, age: 600 - index })));

export function summaryOf(changes: Partial<LogSummary> = {}): LogSummary {
  return {
    rounds: 10,
    members: 2,
    forwards: 340,
    examples: 5_440,
    payloadBytes: 320,
    loss: 0.5,
    evaluation: { split: 'validation', round: 0, examples: 512, loss: 0.69, accuracy: 0.512 },
    elapsed: 20_000,
    end: null,
    ...changes,
  };
}

export const known = (changes: Partial<LogSummary> = {}): LogView => ({
  answer: { type: 'known', summary: summaryOf(changes) },
  roundMs: 2_000,
  problem: null,
});

/** A job under way that needs nothing. */
export function worldOf(job: Job, changes: Partial<World> = {}): World {
  const status: Status = {
    stream: `onebyte-${job.metadata.uid}`,
    startTime: ago(600),
    conditions: [
      {
        type: 'Suspended',
        status: 'False',
        lastTransitionTime: ago(600),
        reason: 'Active',
        message: 'spec.suspend is not set',
      },
    ],
  };
  return {
    job,
    status,
    workers: [],
    exporter: null,
    log: known(),
    missing: [],
    setbacks: noSetbacks,
    stream: 'unknown',
    room: roomOf(job),
    taken: new Set(),
    now: NOW,
    ...changes,
  };
}

export { unasked };
