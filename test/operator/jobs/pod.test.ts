import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { program } from '../../../cli/program.ts';
import { exportPod, workerPod } from '../../../operator/jobs/pod.ts';
import { jobOf, settings } from './builder.ts';

const worker = { name: 'tune-0', group: '', index: 0, failures: 0 };
const containerOf = (pod: ReturnType<typeof exportPod>) =>
  pod.spec!.containers.find(({ name }) => name === 'worker')!;

describe('the pods of a job', () => {
  const job = jobOf('tune', {
    output: { uri: 's3://models/tune', credentialsSecret: 'bucket' },
    template: { spec: { containers: [{ name: 'worker', envFrom: [{ configMapRef: { name: 'proxy' } }] }] } },
  });

  test('the one that writes the model gets the credentials of the output, and no worker does', () => {
    const proxy = { configMapRef: { name: 'proxy' } };
    assert.deepEqual(containerOf(exportPod(job, settings)).envFrom, [
      proxy,
      { secretRef: { name: 'bucket' } },
    ]);
    assert.deepEqual(containerOf(workerPod(job, worker, settings)).envFrom, [proxy]);
  });

  test('each waits half a minute for a lost node, unless its template says otherwise', () => {
    const own = workerPod(jobOf('tune'), worker, settings).spec!.tolerations!;
    assert.deepEqual(
      own.map(({ key, effect, tolerationSeconds }) => [key, effect, tolerationSeconds]),
      ['not-ready', 'unreachable'].map((name) => [`node.kubernetes.io/${name}`, 'NoExecute', 30]),
    );
    const sooner = { ...own[0]!, tolerationSeconds: 10 };
    const template = { spec: { containers: [], tolerations: [sooner] } };
    // Of two that match, Kubernetes takes the first.
    assert.deepEqual(workerPod(jobOf('tune', { template }), worker, settings).spec!.tolerations, [
      sooner,
      ...own,
    ]);
  });

  test('all but the first leave the beginning of the run to that one', () => {
    const name = 'ONEBYTE_HEAD_START_SECONDS';
    const groups = {
      replicas: 0,
      groups: [
        { name: 'a', replicas: 2 },
        { name: 'b', replicas: 1 },
      ],
    };
    const waits = (spec: object, group: string, index: number) => {
      const pod = workerPod(jobOf('tune', spec), { ...worker, group, index }, settings);
      return containerOf(pod).env!.some((variable) => variable.name === name && Number(variable.value) > 0);
    };
    assert.deepEqual([waits({}, '', 0), waits({}, '', 1)], [false, true]);
    assert.deepEqual(
      [waits(groups, 'a', 0), waits(groups, 'a', 1), waits(groups, 'b', 0)],
      [false, true, true],
    );
  });

  test('each runs a command that the image has', () => {
    const commands = program().commands.map((command) => command.name());
    for (const pod of [exportPod(job, settings), workerPod(job, worker, settings)]) {
      const { command, args } = containerOf(pod);
      assert.deepEqual(command, ['onebyte']);
      assert.ok(commands.includes(args![0]!), args![0]);
    }
  });
});
