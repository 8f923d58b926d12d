import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import {
  type Client,
  configMaps,
  events,
  type KubeObject,
  namespaced,
  type Pod,
  podDisruptionBudgets,
  pods,
  secrets,
  serviceAccounts,
  services,
} from '../../../operator/kube/mod.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { clientOf, until } from '../kube/setup.ts';
import { manifest } from './builder.ts';
import {
  applyCrd,
  conditionText,
  getJob,
  Kubelets,
  MemoryLogs,
  podsOf,
  type Running,
  startOperator,
} from './harness.ts';

const skip = await clusterMissing();
const namespaces = { ...namespaced('v1', 'Namespace', 'namespaces'), namespaced: false };

describe('an operator over a real API server', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let kubelets: Kubelets;
  let operator: Running;
  const logs = new MemoryLogs();

  before(async () => {
    cluster = await startCluster({ controllerManager: true });
    client = await clientOf(cluster);
    await applyCrd(cluster);
    // Every pod that the operator makes has to pass.
    await cluster.kubectl(['label', 'namespace', 'default', 'pod-security.kubernetes.io/enforce=restricted']);
    kubelets = new Kubelets(client);
    operator = await startOperator(cluster, logs);
    await operator.leading;
  });
  after(async () => {
    await operator?.stop();
    await kubelets?.stop();
    client?.close();
    await cluster?.down();
  });

  const make = async (name: string, spec: object = {}, metadata: object = {}): Promise<Job> => {
    const draft = manifest(name, spec) as Job;
    await cluster.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ ...draft, metadata: { ...draft.metadata, ...metadata } }),
    );
    return getJob(client, name);
  };
  const count = async (name: string) => (await podsOf(client, name)).length;
  const untilPods = (name: string, wanted: number) =>
    until(`${wanted} pods of ${name}`, async () => (await count(name)) === wanted);
  const untilCondition = async (name: string, type: string, text: string) => {
    let last = '';
    await until(
      `${name}: ${type} ${text}`,
      async () => (last = conditionText(await getJob(client, name), type)) === text,
    ).catch((error: Error) => assert.fail(`${error.message}; it is ${last}`));
  };
  const names = async (name: string) => (await podsOf(client, name)).map((pod) => pod.metadata.name);

  test('the whole life of a job: made, joined, trained, scaled, finished, written, deleted', async () => {
    const job = await make('life', {
      replicas: 3,
      min: 2,
      output: { uri: 's3://models/life' },
      template: { spec: { containers: [{ name: 'worker', resources: { limits: { memory: '2Gi' } } }] } },
    });
    await untilPods('life', 3);
    await untilCondition('life', 'Suspended', 'False Active');
    assert.deepEqual(await names('life'), ['life-0', 'life-1', 'life-2']);
    const at = { namespace: 'default', name: 'life-workers' };
    for (const resource of [configMaps, serviceAccounts, services, podDisruptionBudgets]) {
      const child = await client.get(resource, at);
      assert.equal(child.metadata.ownerReferences?.[0]?.uid, job.metadata.uid, resource.kind);
    }
    const [pod] = await podsOf(client, 'life');
    assert.equal(pod?.spec?.containers[0]?.resources?.limits?.memory, '2Gi');
    assert.equal(
      pod?.spec?.containers[0]?.env?.find(({ name }) => name === 'ONEBYTE_WORKER')?.value,
      'life-0',
    );

    logs.say(job, { rounds: 1, members: 3, forwards: 51 });
    await untilCondition('life', 'Succeeded', 'Unknown Running');
    await untilCondition('life', 'Ready', 'True EnoughWorkers');
    await until(
      'the workers are counted',
      async () => (await getJob(client, 'life')).status?.workers?.summary === '3/3',
    );
    logs.say(job, { rounds: 50, members: 3, forwards: 2_550, loss: 0.25 });
    await until('the round is there', async () => (await getJob(client, 'life')).status?.round === 50);
    const columns = await cluster.kubectl(['get', 'ftj', 'life', '--no-headers']);
    assert.match(columns, /^life\s+Running\s+3\/3\s+50\s+0\.2500\s+accuracy 0\.5120\s+\S+s\s+\S+/);

    await cluster.kubectl(['scale', 'ftj/life', '--replicas=5']);
    await untilPods('life', 5);
    await until('all are ready', async () => (await getJob(client, 'life')).status?.workers?.ready === 5);
    // Pods of one batch may come in any order; the newest go first, and of one second those with the highest number.
    const made = ({ metadata }: Pod) => Date.parse(String(metadata.creationTimestamp));
    const order = (await podsOf(client, 'life'))
      .sort((a, b) => made(b) - made(a) || (a.metadata.name < b.metadata.name ? 1 : -1))
      .map(({ metadata }) => metadata.name);
    kubelets.mostLeaving = 0;
    kubelets.gone.length = 0;
    await cluster.kubectl(['scale', 'ftj/life', '--replicas=2']);
    await untilPods('life', 2);
    assert.deepEqual(await names('life'), order.slice(3).sort());
    assert.deepEqual(kubelets.gone, order.slice(0, 3));
    assert.equal(kubelets.mostLeaving, 1);

    kubelets.state = (pod) => (pod.metadata.name === 'life-export' ? null : 'joined');
    logs.say(job, { rounds: 100, members: 2, end: { reason: 'rounds', digest: 'ab'.repeat(32) } });
    await untilCondition('life', 'Succeeded', 'Unknown Exporting');
    await until('the export pod', async () => (await names('life')).includes('life-export'));
    for (const name of [...order.slice(3), 'life-export'])
      await kubelets.set({ namespace: 'default', name }, 'left');
    await cluster.kubectl(['wait', '--for=condition=Succeeded', 'ftj/life', '--timeout=30s']);
    const { status } = await getJob(client, 'life');
    assert.deepEqual(status?.result, {
      digest: 'ab'.repeat(32),
      reason: 'rounds',
      location: 's3://models/life',
      journal: 's3://models/life/journal.onebyte',
    });
    assert.ok(status?.startTime && status.completionTime);
    kubelets.state = 'joined';

    const told = (await client.listAll(events, { namespace: 'default' }))
      .filter(({ regarding }) => regarding?.name === 'life')
      .map(({ reason }) => reason);
    for (const reason of [
      'StreamCreated',
      'WorkerPodsCreated',
      'RunStarted',
      'WorkerRemoved',
      'ExportStarted',
      'JobCompleted',
    ])
      assert.ok(told.includes(reason), `${reason} in ${told}`);

    await client.delete(fineTuneJobs, { namespace: 'default', name: 'life' });
    await untilPods('life', 0);
    await until('the job is gone', async () => (await client.listAll(fineTuneJobs)).length === 0);
    assert.ok(logs.removed.includes(job.metadata.uid!));
  });

  test('a pod that is deleted comes again, and one that was evicted is replaced', async () => {
    await make('heal', { replicas: 2 });
    await untilPods('heal', 2);
    const before = await podsOf(client, 'heal');
    await client.delete(pods, { namespace: 'default', name: 'heal-0' });
    await until('another heal-0 or heal-2', async () => {
      const now = await podsOf(client, 'heal');
      return (
        now.length === 2 &&
        now.some(({ metadata }) => !before.some((pod) => pod.metadata.uid === metadata.uid))
      );
    });
    const uid = (await podsOf(client, 'heal'))[0]!.metadata.uid;
    const [first] = await podsOf(client, 'heal');
    await kubelets.set({ namespace: 'default', name: first!.metadata.name }, 'evicted');
    await until('it is another pod', async () => {
      const [now] = await podsOf(client, 'heal');
      return now !== undefined && now.metadata.uid !== uid && now.metadata.deletionTimestamp === undefined;
    });
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'heal' });
    await untilPods('heal', 0);
  });

  test('suspend takes all pods away and keeps the log, and resume goes on with it', async () => {
    const job = await make('pause', { replicas: 2 });
    await untilPods('pause', 2);
    logs.say(job, { rounds: 7, members: 2 });
    await until('rounds', async () => (await getJob(client, 'pause')).status?.round === 7);
    await client.patch(fineTuneJobs, { namespace: 'default', name: 'pause' }, { spec: { suspend: true } });
    await untilPods('pause', 0);
    await untilCondition('pause', 'Suspended', 'True Suspended');
    assert.equal((await getJob(client, 'pause')).status?.round, 7);
    assert.ok(logs.states.has(job.metadata.uid!));
    await client.patch(fineTuneJobs, { namespace: 'default', name: 'pause' }, { spec: { suspend: false } });
    await untilPods('pause', 2);
    await untilCondition('pause', 'Suspended', 'False Active');
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'pause' });
    await untilPods('pause', 0);
  });

  test('a quota that is used up stalls the job and says so; more quota lets it go on', async () => {
    await client.create(namespaces, { metadata: { name: 'small' } });
    const quota = { ...namespaced('v1', 'ResourceQuota', 'resourcequotas') };
    await client.create(quota, {
      metadata: { namespace: 'small', name: 'pods' },
      spec: { hard: { pods: '1' } },
    } as never);
    await until('the quota counts', async () => {
      const found = await client.get<{ metadata: { name: string }; status?: { hard?: object } }>(
        quota as never,
        { namespace: 'small', name: 'pods' },
      );
      return found.status?.hard !== undefined;
    });
    await make('fit', { replicas: 3, min: 2 }, { namespace: 'small' }).catch(() => undefined);
    await until(
      'stalled',
      async () => conditionText(await getJob(client, 'fit', 'small'), 'Stalled') === 'True QuotaExceeded',
    );
    const { status } = await getJob(client, 'fit', 'small');
    assert.match(
      status?.conditions?.find(({ type }) => type === 'Stalled')?.message ?? '',
      /exceeded quota: pods, requested: pods=1/,
    );
    await client.patch(
      quota as never,
      { namespace: 'small', name: 'pods' },
      { spec: { hard: { pods: '9' } } },
    );
    // A changed job is tried at once, without waiting for the back-off.
    await cluster.kubectl(['-n', 'small', 'scale', 'ftj/fit', '--replicas=4']);
    await until('all pods', async () => (await podsOf(client, 'fit', 'small')).length === 4);
    await client.delete(fineTuneJobs, { namespace: 'small', name: 'fit' });
    await until('gone', async () => (await podsOf(client, 'fit', 'small')).length === 0);
  });

  test('a template that pod security refuses stalls the job until somebody corrects it', async () => {
    const template = { spec: { hostNetwork: true } };
    await make('risky', { template });
    await untilCondition('risky', 'Stalled', 'True PodRefused');
    await client.patch(fineTuneJobs, { namespace: 'default', name: 'risky' }, { spec: { template: null } });
    await untilPods('risky', 1);
    await untilCondition('risky', 'Stalled', 'False NotStalled');
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'risky' });
  });

  test('an object that is somebody else’s is never taken over', async () => {
    const at = { namespace: 'default', name: 'mine-workers' };
    await client.create(configMaps, { metadata: { ...at }, data: { precious: 'yes' } });
    await make('mine');
    await untilCondition('mine', 'Stalled', 'True ObjectRefused');
    assert.deepEqual((await client.get(configMaps, at)).data, { precious: 'yes' });
    assert.equal(await count('mine'), 0);
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'mine' });
    await until('gone', async () =>
      (await client.listAll(fineTuneJobs)).every(({ metadata }) => metadata.name !== 'mine'),
    );
    assert.deepEqual((await client.get(configMaps, at)).data, { precious: 'yes' });
  });

  test('pods of that name that are somebody else’s are passed over', async () => {
    const foreign = {
      containers: [
        {
          name: 'x',
          image: 'x',
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
      securityContext: { runAsNonRoot: true, runAsUser: 1, seccompProfile: { type: 'RuntimeDefault' } },
    };
    await client.create(pods, { metadata: { namespace: 'default', name: 'near-0' }, spec: foreign });
    await make('near', { replicas: 2 });
    await untilPods('near', 2);
    assert.deepEqual(await names('near'), ['near-1', 'near-2']);
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'near' });
    await client.delete(pods, { namespace: 'default', name: 'near-0' });
  });

  test('a job that came with our finalizer, as from a backup, can be deleted', async () => {
    await make('copied', {}, { finalizers: ['onebyte.dev/stream'] });
    await untilPods('copied', 1);
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'copied' });
    await until('gone', async () =>
      (await client.listAll(fineTuneJobs)).every(({ metadata }) => metadata.name !== 'copied'),
    );
  });

  test('a job that another controller manages is left alone', async () => {
    await make('theirs', { managedBy: 'kueue.x-k8s.io/multikueue' });
    await make('ours');
    await untilPods('ours', 1);
    assert.equal(await count('theirs'), 0);
    assert.equal((await getJob(client, 'theirs')).status, undefined);
    for (const name of ['theirs', 'ours']) await client.delete(fineTuneJobs, { namespace: 'default', name });
  });

  test('a log that cannot be made stalls the job, and no pod waits for it', async () => {
    logs.problem = 'NATS does not answer';
    await make('deaf');
    await untilCondition('deaf', 'Stalled', 'True LogUnavailable');
    assert.equal(await count('deaf'), 0);
    logs.problem = null;
    await until('pods', async () => (await count('deaf')) === 1, 90_000);
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'deaf' });
    await untilPods('deaf', 0);
  });

  test('workers get credentials of their own, which go with them', async () => {
    logs.files = { credentials: 'secret' };
    const job = await make('keyed', { replicas: 2 });
    await untilPods('keyed', 2);
    const name = `keyed-1-${job.metadata.uid!.slice(0, 8)}`;
    const secret = await client.get(secrets, { namespace: 'default', name });
    assert.equal(Buffer.from(secret.data!.credentials!, 'base64').toString(), 'secret');
    const [, second] = await podsOf(client, 'keyed');
    assert.deepEqual(
      second?.spec?.volumes?.find((volume) => volume.name === 'onebyte-nats')?.projected?.sources,
      [{ secret: { name } }],
    );
    await cluster.kubectl(['scale', 'ftj/keyed', '--replicas=1']);
    await untilPods('keyed', 1);
    await until('the secret is gone', async () => {
      const left = await client.listAll(secrets, {
        namespace: 'default',
        labelSelector: 'onebyte.dev/job=keyed',
      });
      return left.length === 1;
    });
    await client.delete(fineTuneJobs, { namespace: 'default', name: 'keyed' });
    logs.files = null;
  });

  test('a job whose time to live is over is deleted', async () => {
    const job = await make('brief', { ttlSecondsAfterFinished: 1 });
    await untilPods('brief', 1);
    logs.say(job, { rounds: 100, end: { reason: 'rounds', digest: 'ab'.repeat(32) } });
    await until('gone', async () =>
      (await client.listAll(fineTuneJobs)).every(({ metadata }) => metadata.name !== 'brief'),
    );
    assert.ok(logs.removed.includes(job.metadata.uid!));
  });

  test('what jobs owned is collected with them', async () => {
    await until('all is gone', async () => {
      const selector = { labelSelector: 'app.kubernetes.io/managed-by=onebyte-operator' };
      const left = [configMaps, serviceAccounts, services, podDisruptionBudgets, secrets, pods].map(
        (resource) => client.listAll<KubeObject>(resource, selector),
      );
      return (await Promise.all(left)).flat().length === 0;
    });
  });
});
