import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { program } from '../../../cli/program.ts';
import { childrenOf } from '../../../operator/jobs/children.ts';
import { exportPod, workerPod } from '../../../operator/jobs/pod.ts';
import { operatorSettings } from '../../../operator/settings.ts';
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

  test('each is told how the server that the operator is set up with is spoken to, and of no server but that one', () => {
    const env = {
      ONEBYTE_IMAGE: 'onebyte:1',
      ONEBYTE_NATS_URL: 'tls://nats:4222',
      ONEBYTE_NATS_DOMAIN: 'hub',
      ONEBYTE_NATS_TLS_FIRST: 'true',
    };
    const told = (spec: object, given: Record<string, string> = env) => {
      const set = operatorSettings(given).pods;
      const pods = [workerPod(jobOf('tune', spec), worker, set), exportPod(jobOf('tune', spec), set)];
      const [first, second] = pods.map((pod) =>
        ['ONEBYTE_NATS_DOMAIN', 'ONEBYTE_NATS_TLS_FIRST'].map(
          (name) => containerOf(pod).env!.find((variable) => variable.name === name)?.value,
        ),
      );
      assert.deepEqual(first, second);
      return first;
    };
    const tls = { handshakeFirst: true };
    const own = 'tls://other:4222';
    assert.deepEqual(told({}), ['hub', 'true']);
    assert.deepEqual(told({ nats: { tls: { caSecret: 'authority' } } }), ['hub', 'true']);
    assert.deepEqual(told({ nats: { url: own } }), [undefined, undefined]);
    assert.deepEqual(told({ nats: { url: own, tls } }), [undefined, 'true']);
    const plain = { ...env, ONEBYTE_NATS_DOMAIN: '', ONEBYTE_NATS_TLS_FIRST: 'false' };
    assert.deepEqual(told({}, plain), [undefined, undefined]);
    assert.deepEqual(told({ nats: { tls } }, plain), [undefined, 'true']);
    assert.throws(() => operatorSettings({ ...env, ONEBYTE_NATS_TLS_FIRST: 'yes' }), /true or false/);
  });

  test('a worker with credentials of its own still has the certificates of the common Secret, under those of its job', () => {
    const set = { ...settings, natsSecret: 'common' };
    const own = { ...worker, secret: 'tune-0-own' };
    const sources = (spec: object) => {
      const { volumes } = workerPod(jobOf('tune', spec), own, set).spec!;
      return volumes!.find(({ name }) => name === 'onebyte-nats')!.projected!.sources!;
    };
    const items = ['ca.crt', 'tls.crt', 'tls.key'].map((key) => ({ key, path: key }));
    const [common, credentials] = [
      { secret: { name: 'common', items, optional: true } },
      { secret: { name: 'tune-0-own' } },
    ];
    assert.deepEqual(sources({}), [common, credentials]);
    // Of two files of one name the later one is there.
    assert.deepEqual(sources({ nats: { tls: { caSecret: 'authority' } } }), [
      common,
      credentials,
      { secret: { name: 'authority' } },
    ]);
  });

  test('a node may be drained of those that do not take part yet, and of all but one or min of those that do', () => {
    const budgetOf = (spec: object) =>
      childrenOf(jobOf('tune', spec)).find(({ kind }) => kind === 'PodDisruptionBudget')!.object;
    const policy = { unhealthyPodEvictionPolicy: 'AlwaysAllow' };
    assert.partialDeepStrictEqual(budgetOf({ replicas: 4, min: 2 }), {
      spec: { minAvailable: 2, ...policy },
    });
    assert.partialDeepStrictEqual(budgetOf({ replicas: 4, min: 4 }), {
      spec: { minAvailable: 3, ...policy },
    });
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
