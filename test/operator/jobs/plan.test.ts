import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { conditionOf } from '../../../operator/jobs/conditions.ts';
import type { ConditionType } from '../../../operator/jobs/names.ts';
import { type Action, plan } from '../../../operator/jobs/plan.ts';
import { exportPod } from '../../../operator/jobs/pod.ts';
import { type Worker, workerOf } from '../../../operator/jobs/worker.ts';
import { noSetbacks, type World } from '../../../operator/jobs/world.ts';
import {
  ago,
  jobOf,
  known,
  NOW,
  podOf,
  podStatus,
  settings,
  unasked,
  workersOf,
  worldOf,
} from './builder.ts';

/** An action in a few words. */
function word(action: Action): string {
  switch (action.type) {
    case 'ensure-child':
      return `${action.type} ${action.kind}`;
    case 'create-pod':
      return `${action.type} ${action.worker.name}`;
    case 'remove-pod':
      return `${action.type} ${action.worker.name} ${action.why}`;
    case 'replace-pod':
      return `${action.type} ${action.worker.name} ${action.failures}`;
    default:
      return action.type;
  }
}

interface Case {
  readonly name: string;
  readonly world: World;
  readonly actions?: readonly string[];
  /** `Type: Status Reason`. */
  readonly conditions?: Partial<Record<ConditionType, string>>;
  readonly message?: RegExp;
  readonly again?: number | null;
}

const four = jobOf('tune', { replicas: 4, min: 2 });
const two = jobOf('tune', { replicas: 2 });
const setback = (reason: string, attempts: number, secondsAgo: number) => ({
  reason,
  message: `${reason}: refused`,
  attempts,
  at: NOW - secondsAgo * 1_000,
  generation: 1,
});
/** Suspended since the first time, without a round since the second. */
const suspendedSince = (suspended: number, round: number): World['status'] => {
  const { status } = worldOf(two);
  const [condition] = status.conditions!;
  const since = { status: 'True' as const, reason: 'Suspended', lastTransitionTime: ago(suspended) };
  return {
    ...status,
    ...{ round: 10, forwards: 340, evaluation: { round: 0 }, progress: { updatedAt: ago(round) } },
    conditions: [{ ...condition!, ...since }],
  };
};
const rest = (job: typeof two, changes: Partial<World> = {}) =>
  worldOf(job, { workers: workersOf(job, 'joined', 'joined'), ...changes });
/** The pod that writes the model of a job. */
const exporterOf = (job: typeof two, state: Parameters<typeof podStatus>[0]): Worker => {
  const pod = exportPod(job, settings);
  const metadata = { ...pod.metadata, uid: 'uid-export', creationTimestamp: ago(600) };
  return workerOf({ ...pod, metadata, status: podStatus(state) });
};
const written = jobOf('tune', { replicas: 2, output: { uri: 's3://b/p' } });
const atEnd = (job: typeof two, exporter: Worker | null, changes: Partial<World> = {}) =>
  worldOf(job, { exporter, log: known({ end: { reason: 'target', digest: 'ab' } }), ...changes });
const failedBy = (reason: string): World['status'] => {
  const condition = { type: 'Succeeded', status: 'False' as const, message: '', lastTransitionTime: ago(1) };
  return { completionTime: ago(1), conditions: [{ ...condition, reason }] };
};
const withPod = (job: typeof two, state: Parameters<typeof podOf>[1], options = {}): Worker =>
  workerOf(podOf(job, state, options));

const cases: Case[] = [
  {
    name: 'a new job gets its finalizer first, so that no stream outlives it unseen',
    world: worldOf(jobOf('tune', {}, { finalizers: [] }), { status: {}, log: unasked }),
    actions: ['add-finalizer'],
    conditions: { Succeeded: 'Unknown Pending', Reconciling: 'True Scaling', Ready: 'False TooFewWorkers' },
  },
  {
    name: 'then its stream',
    world: worldOf(two, { status: {}, log: unasked }),
    actions: ['create-stream'],
  },
  {
    name: 'then its objects and its workers',
    world: worldOf(two, {
      log: { ...unasked, answer: { type: 'empty' } },
      missing: ['ConfigMap', 'Service'],
    }),
    actions: ['ensure-child ConfigMap', 'ensure-child Service', 'create-pod tune-0', 'create-pod tune-1'],
    conditions: { Scaled: 'False ScalingUp' },
  },
  {
    name: 'a job with all that it needs is left alone',
    world: rest(two),
    actions: [],
    conditions: {
      Succeeded: 'Unknown Running',
      Ready: 'True EnoughWorkers',
      Reconciling: 'False Settled',
      Stalled: 'False NotStalled',
      Suspended: 'False Active',
      Scaled: 'True Stable',
    },
  },
  {
    name: 'a job whose log has not been asked yet is left alone, as its run may have ended meanwhile',
    world: worldOf(two, { log: unasked }),
    actions: [],
  },
  {
    name: 'a log that cannot be asked does not keep workers from being made',
    world: worldOf(two, { log: { answer: null, roundMs: null, problem: 'no answer' } }),
    actions: ['create-pod tune-0', 'create-pod tune-1'],
    conditions: { Ready: 'Unknown LogUnknown' },
  },
  {
    name: 'a stream that cannot be made stalls the job, and is tried again after a while',
    world: worldOf(two, {
      status: {},
      log: unasked,
      setbacks: { ...noSetbacks, stream: setback('LogUnavailable', 2, 5) },
    }),
    actions: [],
    conditions: { Stalled: 'True LogUnavailable' },
    again: 15_000,
  },
  {
    name: 'and after that while',
    world: worldOf(two, {
      status: {},
      log: unasked,
      setbacks: { ...noSetbacks, stream: setback('LogUnavailable', 2, 21) },
    }),
    actions: ['create-stream'],
  },
  {
    name: 'a log gets more room when a job may have more workers than before',
    world: rest(two, { room: { workers: two.spec.max - 1, copies: 1 } }),
    actions: ['widen-stream'],
  },
  {
    name: 'and other copies when it is to have more of them, or fewer',
    world: rest(jobOf('tune', { replicas: 2, nats: { replicas: 3 } }), {
      workers: workersOf(jobOf('tune', { nats: { replicas: 3 } }), 'joined', 'joined'),
      room: { workers: 1_000, copies: 1 },
    }),
    actions: ['widen-stream'],
  },
  {
    name: 'which a server that has none to give does not hold the job up for',
    world: rest(two, {
      room: { workers: two.spec.max - 1, copies: 1 },
      setbacks: { ...noSetbacks, room: setback('LogUnavailable', 2, 5) },
    }),
    actions: [],
    conditions: { Stalled: 'False NotStalled' },
    again: 15_000,
  },
  {
    name: 'a stream that is lost after rounds is not made again',
    world: rest(two, {
      status: { ...worldOf(two).status, round: 10 },
      log: { answer: { type: 'missing' }, roundMs: null, problem: null },
    }),
    actions: [],
    conditions: { Stalled: 'True LogLost' },
  },
  {
    name: 'more workers are made in the gaps of the numbers',
    world: worldOf(four, {
      workers: [withPod(four, 'joined', { index: 0 }), withPod(four, 'joined', { index: 2 })],
    }),
    actions: ['create-pod tune-1', 'create-pod tune-3'],
    conditions: { Succeeded: 'Unknown Running', Scaled: 'False ScalingUp' },
  },
  {
    name: 'a name that somebody else has is passed over',
    world: worldOf(two, { taken: new Set(['tune-0']) }),
    actions: ['create-pod tune-1', 'create-pod tune-2'],
  },
  {
    name: 'of workers too many the newest goes first, and only one that has joined at a time',
    world: worldOf(two, { workers: workersOf(two, 'joined', 'joined', 'joined', 'joined') }),
    actions: ['remove-pod tune-3 surplus'],
    conditions: { Scaled: 'False ScalingDown', Reconciling: 'True Scaling' },
  },
  {
    name: 'the next one goes when the one before has left',
    world: worldOf(two, { workers: workersOf(two, 'joined', 'joined', 'joined', 'leaving') }),
    actions: [],
    again: 40_000,
  },
  {
    name: 'those that have not joined go at once and before the others',
    world: worldOf(two, { workers: workersOf(two, 'ready', 'joined', 'pending', 'joined', 'joined') }),
    actions: ['remove-pod tune-2 surplus', 'remove-pod tune-0 surplus', 'remove-pod tune-4 surplus'],
  },
  {
    name: 'a worker on its way out is replaced at once',
    world: worldOf(two, { workers: workersOf(two, 'leaving', 'joined') }),
    actions: ['create-pod tune-2'],
  },
  {
    name: 'an evicted worker is replaced at once, and it is no failure',
    world: worldOf(two, { workers: workersOf(two, 'joined', 'evicted') }),
    actions: ['replace-pod tune-1 0'],
    conditions: { Stalled: 'False NotStalled' },
  },
  {
    name: 'a pod that its node refused is replaced at once the first time',
    world: worldOf(two, {
      workers: [withPod(two, 'joined'), withPod(two, 'failed', { index: 1, age: 60 })],
    }),
    actions: ['replace-pod tune-1 1'],
  },
  {
    name: 'and later the next time',
    world: worldOf(two, {
      workers: [withPod(two, 'joined'), withPod(two, 'failed', { index: 1, age: 62, failures: 4 })],
    }),
    actions: [],
    conditions: { Scaled: 'False NodeRefused' },
    again: 20_000,
  },
  {
    name: 'a worker that left is replaced once the log has had time to say that the run is over',
    world: worldOf(two, { workers: workersOf(two, 'joined', 'left') }),
    actions: ['replace-pod tune-1 1'],
  },
  {
    name: 'but not while the log cannot be read',
    world: worldOf(two, {
      workers: workersOf(two, 'joined', 'left'),
      log: { ...known(), problem: 'no answer' },
    }),
    actions: [],
  },
  {
    name: 'an image that cannot be pulled stalls a job that is short of workers, and says what to do',
    world: worldOf(four, { workers: workersOf(four, 'joined', 'image-error', 'image-error', 'image-error') }),
    actions: [],
    conditions: {
      Stalled: 'True ImagePullFailed',
      Scaled: 'False ImagePullFailed',
      Succeeded: 'Unknown WaitingForWorkers',
    },
    message: /tune-1: Back-off pulling image "x". What to do: check image/,
  },
  {
    name: 'but not one that has enough',
    world: worldOf(four, { workers: workersOf(four, 'joined', 'joined', 'image-error', 'image-error') }),
    actions: [],
    conditions: { Stalled: 'False NotStalled', Scaled: 'False ImagePullFailed', Ready: 'True EnoughWorkers' },
  },
  {
    name: 'workers that fit nowhere stall a job after two minutes',
    world: worldOf(two, {
      workers: [
        withPod(two, 'unschedulable', { age: 119 }),
        withPod(two, 'unschedulable', { index: 1, age: 119 }),
      ],
    }),
    actions: [],
    conditions: { Stalled: 'False NotStalled', Scaled: 'False Unschedulable' },
    again: 1_000,
  },
  {
    name: 'workers that a queue holds back stall nothing',
    world: worldOf(two, { workers: workersOf(two, 'gated', 'gated') }),
    actions: [],
    conditions: { Stalled: 'False NotStalled', Scaled: 'False SchedulingGated' },
  },
  {
    name: 'workers killed for lack of memory stall the job',
    world: worldOf(two, { workers: workersOf(two, 'oom', 'oom') }),
    actions: [],
    conditions: { Stalled: 'True OutOfMemory' },
    message: /killed 4 times for lack of memory.*limits\.memory/,
  },
  {
    name: 'workers in a crash loop stall the job, with what they said last',
    world: worldOf(two, { workers: workersOf(two, 'crash-loop', 'crash-loop') }),
    actions: [],
    conditions: { Stalled: 'True CrashLooping' },
    message: /ENGINE_FAILED: no such device/,
  },
  {
    name: 'a worker that refuses its input stalls the job while another one trains too few',
    world: worldOf(four, {
      workers: workersOf(four, 'joined', 'refused', 'joined', 'joined'),
      log: known({ members: 1 }),
    }),
    actions: [],
    conditions: { Stalled: 'True InputRefused' },
    message: /DATA_MISSING/,
  },
  {
    name: 'input that all refuse before anything was trained fails the job',
    world: worldOf(two, {
      workers: workersOf(two, 'refused', 'refused'),
      log: { ...unasked, answer: { type: 'empty' } },
    }),
    actions: [],
    conditions: { Succeeded: 'False InvalidInput', Stalled: 'True InvalidInput' },
    message: /tune-0: error DATA_MISSING/,
  },
  {
    name: 'a used-up quota stalls a job that is short of workers, and is tried again later',
    world: worldOf(two, { setbacks: { ...noSetbacks, pods: setback('QuotaExceeded', 3, 10) } }),
    actions: [],
    conditions: { Stalled: 'True QuotaExceeded', Scaled: 'False QuotaExceeded' },
    again: 30_000,
  },
  {
    name: 'but no longer once all workers are there, by whoever made room for them',
    world: worldOf(two, {
      workers: workersOf(two, 'starting', 'starting'),
      setbacks: { ...noSetbacks, pods: setback('QuotaExceeded', 3, 10) },
    }),
    actions: [],
    conditions: { Stalled: 'False NotStalled', Scaled: 'False ScalingUp' },
  },
  {
    name: 'an object that the server refuses stalls a job that is short of workers',
    world: worldOf(two, {
      missing: ['ConfigMap'],
      setbacks: { ...noSetbacks, children: setback('ObjectRefused', 3, 10) },
    }),
    actions: [],
    conditions: { Stalled: 'True ObjectRefused' },
  },
  {
    name: 'but no longer once it is there',
    world: worldOf(two, { setbacks: { ...noSetbacks, children: setback('ObjectRefused', 3, 10) } }),
    actions: ['create-pod tune-0', 'create-pod tune-1'],
    conditions: { Stalled: 'False NotStalled' },
  },
  {
    name: 'a changed job is tried at once',
    world: worldOf(two, {
      job: { ...two, metadata: { ...two.metadata, generation: 2 } },
      setbacks: { ...noSetbacks, pods: setback('QuotaExceeded', 3, 10) },
    }),
    actions: ['create-pod tune-0', 'create-pod tune-1'],
  },
  {
    name: 'no round within the progress deadline stalls the job but does not end it',
    world: rest(two, {
      status: {
        ...worldOf(two).status,
        round: 10,
        forwards: 340,
        progress: { updatedAt: ago(601) },
        evaluation: { round: 0 },
      },
    }),
    actions: [],
    conditions: { Stalled: 'True ProgressDeadlineExceeded', Succeeded: 'Unknown Running' },
  },
  {
    name: 'the active deadline fails the job',
    world: rest(jobOf('tune', { replicas: 2, activeDeadlineSeconds: 600 })),
    actions: [],
    conditions: { Succeeded: 'False DeadlineExceeded', Stalled: 'True DeadlineExceeded' },
  },
  {
    name: 'and is waited for',
    world: rest(jobOf('tune', { replicas: 2, activeDeadlineSeconds: 630 })),
    actions: [],
    again: 30_000,
  },
  {
    name: 'a job that is suspended loses all its pods at once',
    world: rest(jobOf('tune', { replicas: 2, suspend: true })),
    actions: ['remove-pod tune-0 suspended', 'remove-pod tune-1 suspended'],
    conditions: { Suspended: 'False Suspending', Succeeded: 'Unknown Suspended' },
  },
  {
    name: 'and is suspended when the last one has gone',
    world: worldOf(jobOf('tune', { replicas: 2, suspend: true })),
    actions: [],
    conditions: { Suspended: 'True Suspended', Ready: 'False Suspended', Reconciling: 'False Settled' },
  },
  {
    name: 'a job that goes on has all its time again, however long it was suspended',
    world: rest(jobOf('tune', { replicas: 2, activeDeadlineSeconds: 500 }), {
      status: suspendedSince(9_999, 10_000),
    }),
    actions: [],
    conditions: { Succeeded: 'Unknown Running', Suspended: 'False Active' },
    again: 500_000,
  },
  {
    name: 'and is not stalled for the rounds that it was not to make',
    world: rest(two, { status: suspendedSince(9_999, 10_000) }),
    actions: [],
    conditions: { Stalled: 'False NotStalled' },
    again: 600_000,
  },
  {
    name: 'a job that is created suspended gets nothing at all',
    world: worldOf(jobOf('tune', { suspend: true }, { finalizers: [] }), { status: {}, log: unasked }),
    actions: [],
    conditions: { Suspended: 'True Suspended' },
  },
  {
    name: 'a run that ended ends the job, and its workers end by themselves',
    world: rest(two, { log: known({ end: { reason: 'rounds', digest: 'ab' } }) }),
    actions: [],
    conditions: { Succeeded: 'True Completed', Ready: 'False Finished', Scaled: 'True Finished' },
  },
  {
    name: 'a run that ended with an output is written by a pod first',
    world: atEnd(written, null, { workers: workersOf(two, 'left', 'left') }),
    actions: ['create-export'],
    conditions: { Succeeded: 'Unknown Exporting' },
  },
  {
    name: 'and the job is done when that pod is',
    world: atEnd(written, exporterOf(written, 'left')),
    actions: [],
    conditions: { Succeeded: 'True Completed' },
  },
  {
    name: 'also when an operator made it that did not write down what it was told',
    world: atEnd(written, { ...exporterOf(written, 'left'), template: '' }),
    actions: [],
    conditions: { Succeeded: 'True Completed' },
  },
  {
    name: 'an export that was evicted is made again',
    world: atEnd(written, exporterOf(written, 'evicted')),
    actions: ['remove-pod tune-export over'],
  },
  {
    name: 'an export that the server does not take stalls the job, and is tried again later',
    world: atEnd(written, null, { setbacks: { ...noSetbacks, pods: setback('PodRefused', 1, 4) } }),
    actions: [],
    conditions: { Stalled: 'True PodRefused' },
    again: 6_000,
  },
  {
    name: 'but no longer once its pod is there',
    world: atEnd(written, exporterOf(written, 'ready'), {
      setbacks: { ...noSetbacks, pods: setback('PodRefused', 1, 4) },
    }),
    actions: [],
    conditions: { Stalled: 'False NotStalled' },
  },
  {
    name: 'an export that refuses its output again and again fails the job',
    world: atEnd(written, exporterOf(written, 'refused')),
    actions: [],
    conditions: { Succeeded: 'False ExportFailed' },
  },
  {
    name: 'but not one whose output has been corrected: it is made again',
    world: atEnd(jobOf('tune', { replicas: 2, output: { uri: 's3://b/q' } }), exporterOf(written, 'refused')),
    actions: ['remove-pod tune-export outdated'],
    conditions: { Succeeded: 'Unknown Exporting' },
  },
  {
    name: 'nor one whose template or way to the log has',
    world: atEnd(
      jobOf('tune', { output: { uri: 's3://b/p' }, nats: { credentialsSecret: 'right' } }),
      exporterOf(jobOf('tune', { output: { uri: 's3://b/p' } }), 'crash-loop'),
    ),
    actions: ['remove-pod tune-export outdated'],
  },
  {
    name: 'while other copies of the log are nothing to it',
    world: atEnd(
      jobOf('tune', { replicas: 2, output: { uri: 's3://b/p' }, nats: { replicas: 3 } }),
      exporterOf(written, 'left'),
    ),
    conditions: { Succeeded: 'True Completed' },
  },
  {
    name: 'a failed job loses its workers',
    world: rest(two, { status: failedBy('DeadlineExceeded') }),
    actions: ['remove-pod tune-0 ended', 'remove-pod tune-1 ended'],
  },
  {
    name: 'workers that do not end within a minute of their run are ended',
    world: rest(two, { status: { completionTime: ago(61) } }),
    actions: ['remove-pod tune-0 ended', 'remove-pod tune-1 ended'],
  },
  {
    name: 'and one whose model could not be written loses the pod that tried',
    world: worldOf(written, {
      exporter: exporterOf(written, 'refused'),
      status: failedBy('ExportFailed'),
    }),
    actions: ['remove-pod tune-export ended'],
  },
  {
    name: 'a finished job waits for its time to live',
    world: worldOf(jobOf('tune', { ttlSecondsAfterFinished: 100 }), { status: { completionTime: ago(61) } }),
    actions: [],
    again: 39_000,
  },
  {
    name: 'and is deleted after it, however long the operator was away',
    world: worldOf(jobOf('tune', { ttlSecondsAfterFinished: 0 }), { status: { completionTime: ago(9_999) } }),
    actions: ['delete-job'],
  },
  {
    name: 'a deleted job loses its pods first',
    world: rest(jobOf('tune', { replicas: 2 }, { deletionTimestamp: ago(0) })),
    actions: ['remove-pod tune-0 deleted', 'remove-pod tune-1 deleted'],
  },
  {
    name: 'waits for them',
    world: worldOf(jobOf('tune', { replicas: 2 }, { deletionTimestamp: ago(30) }), {
      workers: workersOf(two, 'leaving'),
    }),
    actions: [],
    again: 60_000,
  },
  {
    name: 'but not for ever, as their node may be lost; then its stream goes',
    world: worldOf(jobOf('tune', { replicas: 2 }, { deletionTimestamp: ago(91) }), {
      workers: workersOf(two, 'leaving'),
    }),
    actions: ['remove-stream'],
  },
  {
    name: 'then its finalizer',
    world: worldOf(jobOf('tune', {}, { deletionTimestamp: ago(1) }), { stream: 'gone' }),
    actions: ['remove-finalizer'],
  },
  {
    name: 'a person may keep the stream',
    world: worldOf(
      jobOf('tune', {}, { deletionTimestamp: ago(1), annotations: { 'onebyte.dev/keep-stream': 'true' } }),
    ),
    actions: ['remove-finalizer'],
  },
  {
    name: 'a job that somebody else still holds is left alone',
    world: worldOf(jobOf('tune', {}, { deletionTimestamp: ago(1), finalizers: [] })),
    actions: [],
  },
];

describe('plan', () => {
  for (const { name, world, actions, conditions = {}, message, again } of cases) {
    test(name, () => {
      const made = plan(world);
      if (actions !== undefined) assert.deepEqual(made.actions.map(word), actions);
      const status = made.status ?? {};
      for (const [type, expected] of Object.entries(conditions)) {
        const found = conditionOf(status, type as ConditionType);
        assert.equal(`${found?.status} ${found?.reason}`, expected, type);
        assert.equal(found?.observedGeneration, world.job.metadata.generation);
      }
      if (message !== undefined) {
        const all = status.conditions?.map((condition) => condition.message).join('\n') ?? '';
        assert.match(all, message);
      }
      if (again !== undefined) assert.equal(made.again, again);
    });
  }

  test('workers of groups have names, numbers and counts of their own, and one of a group that is no more leaves', () => {
    const groups = [
      { name: 'north', replicas: 1 },
      { name: 'south', replicas: 2 },
    ];
    const job = jobOf('tune', { replicas: 1, groups });
    const gone = jobOf('tune', { groups: [{ name: 'west' }] });
    const workers = [
      withPod(job, 'joined', { group: 'north' }),
      withPod(job, 'ready', { group: 'south' }),
      withPod(gone, 'joined', { group: 'west' }),
    ];
    const { actions, status } = plan(worldOf(job, { workers }));
    assert.deepEqual(actions.map(word), [
      'create-pod tune-0',
      'create-pod tune-south-1',
      'remove-pod tune-west-0 surplus',
    ]);
    assert.deepEqual(status?.groups, [
      { name: '', desired: 1, created: 0, ready: 0, joined: 0 },
      { name: 'north', desired: 1, created: 1, ready: 1, joined: 1 },
      { name: 'south', desired: 2, created: 1, ready: 1, joined: 0 },
      { name: 'west', desired: 0, created: 1, ready: 1, joined: 1 },
    ]);
    assert.equal(status?.workers?.summary, '2/4');
    assert.equal(status?.replicas, 0);
    assert.equal(
      status?.selector,
      'onebyte.dev/job=tune,app.kubernetes.io/component=worker,onebyte.dev/group=',
    );
  });

  test('a new template replaces workers that train one at a time, and the others at once', () => {
    const template = { spec: { nodeSelector: { disk: 'ssd' } } };
    const changed = jobOf('tune', { replicas: 4, template });
    const old = workersOf(four, 'joined', 'joined', 'image-error', 'image-error');
    assert.deepEqual(plan(worldOf(changed, { workers: old })).actions.map(word), [
      'remove-pod tune-3 outdated',
      'remove-pod tune-2 outdated',
    ]);
    assert.deepEqual(
      plan(
        worldOf(changed, { workers: workersOf(four, 'joined', 'joined', 'joined', 'joined') }),
      ).actions.map(word),
      ['remove-pod tune-3 outdated'],
    );
    // While the new ones have not joined, the old ones stay.
    const mixed = [
      withPod(four, 'joined', { index: 0 }),
      withPod(four, 'joined', { index: 1 }),
      withPod(changed, 'ready', { index: 2 }),
      withPod(changed, 'joined', { index: 3 }),
    ];
    assert.deepEqual(plan(worldOf(changed, { workers: mixed })).actions.map(word), []);
  });

  test('the status says what the last record of the log says', () => {
    const job = jobOf('tune', { replicas: 2, stop: { rounds: 40 }, evaluation: { everyRounds: 10 } });
    const { status } = plan(rest(job));
    assert.deepEqual(
      {
        round: status?.round,
        forwards: status?.forwards,
        examples: status?.examples,
        payloadBytes: status?.payloadBytes,
        loss: status?.loss,
        evaluation: status?.evaluation,
        progress: status?.progress,
      },
      {
        round: 10,
        forwards: 340,
        examples: 5_440,
        payloadBytes: 320,
        loss: '0.5000',
        evaluation: {
          summary: 'accuracy 0.5120',
          round: 0,
          split: 'validation',
          examples: 512,
          metric: 'accuracy',
          value: '0.5120',
          loss: '0.6900',
        },
        progress: { percent: 25, remainingSeconds: 60, eta: '1m00s', updatedAt: '2026-01-01T12:00:00Z' },
      },
    );
  });

  test('the end of a run is told once and stays, whatever becomes of pods and log', () => {
    const ended = rest(two, {
      log: known({ rounds: 100, end: { reason: 'rounds', digest: 'ab'.repeat(32) } }),
    });
    const { status } = plan(ended);
    assert.deepEqual(status?.result, {
      digest: 'ab'.repeat(32),
      reason: 'rounds',
      journal: `onebyte-${two.metadata.uid}`,
    });
    assert.equal(status?.completionTime, '2026-01-01T12:00:00Z');
    assert.equal(status?.progress?.percent, 100);
    const later = plan({ ...ended, status: status!, workers: [], log: unasked, now: NOW + 1e6 });
    const settled = conditionOf(later.status!, 'Reconciling');
    assert.equal(`${settled?.status} ${settled?.reason}`, 'False Settled');
    assert.deepEqual(later.status, {
      ...status,
      conditions: status?.conditions?.map((one) => (one.type === 'Reconciling' ? settled : one)),
      replicas: 0,
      workers: { summary: '0/2', desired: 2, created: 0, ready: 0, joined: 0 },
      groups: [{ name: '', desired: 2, created: 0, ready: 0, joined: 0 }],
    });
  });
});
