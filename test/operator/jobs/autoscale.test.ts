import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import type { Client } from '../../../operator/kube/mod.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { clientOf, until } from '../kube/setup.ts';
import { ExternalMetrics } from './external-metrics.ts';
import { applyCrd, getJob, Kubelets, MemoryLogs, podsOf, type Running, startOperator } from './harness.ts';

const skip = await clusterMissing();
const examples = join(import.meta.dirname, '..', '..', '..', 'examples');
const read = (name: string) => readFile(join(examples, name), 'utf8');

describe('others that scale a job, by the manifests in examples/', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let kubelets: Kubelets;
  let operator: Running;
  let metrics: ExternalMetrics;
  const logs = new MemoryLogs();

  before(async () => {
    cluster = await startCluster({ controllerManager: true });
    client = await clientOf(cluster);
    await applyCrd(cluster);
    metrics = await ExternalMetrics.start(cluster);
    kubelets = new Kubelets(client);
    operator = await startOperator(cluster, logs);
    await operator.leading;
  });
  after(async () => {
    await operator?.stop();
    await kubelets?.stop();
    await metrics?.close();
    client?.close();
    await cluster?.down();
  });

  const untilPods = (wanted: number) =>
    until(`${wanted} workers`, async () => (await podsOf(client, 'reviews')).length === wanted, 60_000);

  test('the scale path says how many workers there are, how many are wanted, and how to find them', async () => {
    await cluster.kubectl(['apply', '-f', '-'], await read('autoscaling/job.yaml'));
    await untilPods(2);
    const scale = async () =>
      JSON.parse(
        await cluster.kubectl([
          'get',
          '--raw',
          '/apis/onebyte.dev/v1alpha1/namespaces/default/finetunejobs/reviews/scale',
        ]),
      ) as { spec: { replicas: number }; status: { replicas: number; selector: string } };
    await until('it is told', async () => (await scale()).status.replicas === 2);
    const { spec, status } = await scale();
    assert.equal(spec.replicas, 2);
    const found = await cluster.kubectl(['get', 'pods', '-o', 'name', '--selector', status.selector]);
    assert.deepEqual(found.trim().split('\n').sort(), ['pod/reviews-0', 'pod/reviews-1']);
  });

  test('the real autoscaler asks for more workers while there is too much left to do, and for fewer later', async () => {
    metrics.values.set('onebyte_job_remaining_seconds', 3 * 3_600);
    const hpa = parse(await read('autoscaling/hpa.yaml')) as {
      spec: { behavior: Record<string, { stabilizationWindowSeconds: number }> };
    };
    // The example waits ten minutes before it takes a worker away.
    for (const rule of Object.values(hpa.spec.behavior)) rule.stabilizationWindowSeconds = 0;
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(hpa));
    await untilPods(6);
    metrics.values.set('onebyte_job_remaining_seconds', 3_600);
    const job = await getJob(client, 'reviews');
    await until('the autoscaler says what it does', async () =>
      /AbleToScale +True.*[\s\S]*ScalingActive +True/.test(
        await cluster.kubectl(['describe', 'hpa', 'reviews']),
      ),
    );
    assert.deepEqual([...metrics.selectors], ['finetunejob=reviews']);
    assert.ok(job.spec.replicas >= 6);
    metrics.values.set('onebyte_job_remaining_seconds', 600);
    await untilPods(1);
    assert.equal((await getJob(client, 'reviews')).spec.replicas, 1);
  });

  test('an autoscaler that asks for more than max is refused by the API, and says so', async () => {
    await assert.rejects(cluster.kubectl(['scale', 'ftj/reviews', '--replicas=17']), /above max/);
  });

  test('workers bear the label of their queue, and a job whose workers wait in it is not stalled', async () => {
    kubelets.state = 'gated';
    await cluster.kubectl(['apply', '-f', '-'], await read('kueue/job.yaml'));
    await until('8 workers', async () => (await podsOf(client, 'queued')).length === 8);
    for (const { metadata } of await podsOf(client, 'queued'))
      assert.equal(metadata.labels?.['kueue.x-k8s.io/queue-name'], 'fine-tuning');
    await until('it is told', async () => {
      const { status } = await getJob(client, 'queued');
      return status?.conditions?.find(({ type }) => type === 'Scaled')?.reason === 'SchedulingGated';
    });
    const { status } = await getJob(client, 'queued');
    assert.equal(status?.conditions?.find(({ type }) => type === 'Stalled')?.status, 'False');
    const documents = parseAllDocuments(await read('kueue/queues.yaml')).map((one) => one.toJS());
    const local = documents.find(({ kind }) => kind === 'LocalQueue');
    assert.equal(local.metadata.name, 'fine-tuning');
    assert.ok(
      documents.some(
        ({ kind, metadata }) => kind === 'ClusterQueue' && metadata.name === local.spec.clusterQueue,
      ),
    );
  });

  test('what is another controller’s is left alone until it is made ours, which is never', async () => {
    const job = parse(await read('kueue/job.yaml')) as { metadata: { name: string }; spec: object };
    job.metadata.name = 'elsewhere';
    Object.assign(job.spec, { managedBy: 'kueue.x-k8s.io/multikueue' });
    await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(job));
    await cluster.kubectl(['scale', 'ftj/queued', '--replicas=9']);
    await until('9 workers', async () => (await podsOf(client, 'queued')).length === 9);
    const { metadata, status } = await getJob(client, 'elsewhere');
    assert.deepEqual([metadata.finalizers, status], [undefined, undefined]);
    assert.deepEqual(await podsOf(client, 'elsewhere'), []);
  });
});
