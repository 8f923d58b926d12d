import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { NatsLogs } from '../../../cli/operator/nats-logs.ts';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import { type Client, configMaps, type KubeObject, realClock } from '../../../operator/kube/mod.ts';
import { natsSettings } from '../../../worker/nats/config.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { NatsSystem } from '../../nats/server.ts';
import { Lab, type WorkerProcess } from '../../service/lab.ts';
import { missing } from '../../tools/tool.ts';
import { applyCrd, getJob, Kubelets, podsOf, type Running, startOperator } from '../jobs/harness.ts';
import { clientOf, until } from '../kube/setup.ts';
import { chart } from './helm.ts';
import { type Dashboard, drawn, page } from './preview.ts';
import { Prometheus, type Target } from './prometheus.ts';

const skip = (await clusterMissing()) || (await missing('nats-server', 'prometheus'));
/** More rounds than any test waits for. */
const ENDLESS = 1_000_000;
/** Seconds of data that the panels show. */
const WINDOW = 30;

describe('the dashboard and the alerts, in a real Prometheus, over a real run', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let nats: NatsSystem;
  let lab: Lab;
  let kubelets: Kubelets;
  let operator: Running;
  let prometheus: Prometheus;
  const workers: WorkerProcess[] = [];

  before(async () => {
    [cluster, nats, lab] = await Promise.all([startCluster(), NatsSystem.start(), Lab.make(2)]);
    client = await clientOf(cluster);
    await applyCrd(cluster);
    kubelets = new Kubelets(client);
    const port = new NatsLogs({
      settings: natsSettings({ ONEBYTE_NATS_URL: nats.url() }),
      maxBytes: 1 << 24,
      storeBytes: 1 << 24,
    });
    const serving = Promise.withResolvers<number>();
    operator = await startOperator(cluster, port, {
      env: { ONEBYTE_NATS_URL: nats.url() },
      onServing: serving.resolve,
    });
    await operator.leading;

    const job = parse(await readFile(await lab.job({ rounds: ENDLESS }, 'job.yaml', 2), 'utf8')) as Job;
    const inDefault = { namespace: 'default' };
    const made = await client.create(fineTuneJobs, { ...job, metadata: { name: 'lab', ...inDefault } });
    const uid = made.metadata.uid!;
    await until('two pods', async () => (await podsOf(client, 'lab')).length === 2);
    // What the pods would find mounted, and what their environment says, as far as it matters here.
    const { data } = await client.get(configMaps, { ...inDefault, name: 'lab-workers' });
    await writeFile(lab.path('job.yaml'), data!['job.yaml']!);
    const targets: Target[] = [
      { address: `127.0.0.1:${await serving.promise}`, labels: { pod: 'onebyte-0' } },
    ];
    for (const party of [0, 1]) {
      const pod = `lab-p${party}-0`;
      const worker = lab.worker(nats, uid, party, { ONEBYTE_WORKER: pod, ONEBYTE_FOLDER: lab.folder });
      workers.push(worker);
      const address = `127.0.0.1:${(await worker.said(/health and metrics/)).port}`;
      targets.push({ address, labels: { ...inDefault, finetunejob: 'lab', pod, group: `p${party}` } });
    }
    prometheus = await Prometheus.start(targets, join(chart, 'files', 'rules.yaml'));
    await Promise.all(workers.map((worker) => worker.answers('/readyz', 200)));
  });
  after(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await prometheus?.end();
    await operator?.stop();
    await kubelets?.stop();
    client?.close();
    await cluster?.down();
    await nats?.end();
    await lab?.remove();
  });

  test('every query of every panel returns what it is about', async (t) => {
    // Something of everything: a job that is refused an object, a worker that is taken away.
    const other = { kind: 'ConfigMap', metadata: { name: 'other-workers', namespace: 'default' } };
    await client.create(configMaps, other as KubeObject);
    const { spec } = await getJob(client, 'lab');
    await client.create(fineTuneJobs, {
      metadata: { name: 'other', namespace: 'default' },
      spec,
    } as Job);
    const [first] = await podsOf(client, 'lab');
    await cluster.kubectl(['delete', 'pod', first!.metadata.name, '--wait=false']);
    const has = async (name: string) =>
      (await podsOf(client, 'lab')).some(({ metadata }) => metadata.name === name);
    await client.patch(
      fineTuneJobs,
      { namespace: 'default', name: 'lab' },
      { spec: { groups: [...spec.groups!, { name: 'extra', replicas: 1, data: spec.groups![0]!.data }] } },
    );
    // By name: the one that is on its way out counts too, beside the one that takes its place.
    await until('a third worker', () => has('lab-extra-0'));
    await client.patch(
      fineTuneJobs,
      { namespace: 'default', name: 'lab' },
      { spec: { groups: spec.groups } },
    );
    await until('the third worker is away', async () => !(await has('lab-extra-0')));
    await until('evaluated', async () => (await getJob(client, 'lab')).status?.evaluation !== undefined);

    const board = JSON.parse(await readFile(join(chart, 'files', 'dashboard.json'), 'utf8')) as Dashboard;
    const variables = { __rate_interval: '5s', namespace: 'default', job: 'lab' };
    const look = () => drawn(board, prometheus, variables, WINDOW);
    const empty = (all: Awaited<ReturnType<typeof look>>) =>
      all
        .filter(({ panel, lines }) => panel.type !== 'row' && lines.length < panel.targets!.length)
        .map(
          ({ panel, lines }) => `${panel.title}: no more than ${lines.map(({ name }) => name).join(', ')}`,
        );
    let all = await look();
    await until('every panel has data', async () => empty((all = await look())).length === 0).catch(() =>
      assert.deepEqual(empty(all), []),
    );
    for (const { panel, lines } of all)
      for (const { name, series } of lines) {
        assert.ok(name.trim() !== '', `a line of ${panel.title} has no name`);
        assert.ok(
          series.values.some(([, value]) => Number.isFinite(value)),
          `${name} of ${panel.title}`,
        );
      }
    const named = (title: string) =>
      all
        .find(({ panel }) => panel.title === title)!
        .lines.map(({ name }) => name)
        .sort();
    assert.deepEqual(named('Participants'), ['lab-p0-0', 'lab-p1-0']);
    assert.deepEqual(named('Memory'), ['lab-p0-0', 'lab-p1-0']);
    assert.ok(named('Workers made and removed').includes('refused: ObjectRefused'));

    const html = page(board, all, variables);
    assert.ok(!html.includes('No data'));
    // PREVIEW=page.html keeps it, to be looked at in a browser.
    if (process.env.PREVIEW) {
      await realClock.sleep(WINDOW * 1_000);
      await writeFile(process.env.PREVIEW, page(board, await look(), variables));
    }
    t.diagnostic(`${all.flatMap(({ lines }) => lines).length} lines in ${all.length} panels`);
  });

  test('every alert can be worked out, and none fires for a run that is well', async () => {
    const { names, broken } = await prometheus.alerts();
    assert.deepEqual(broken, []);
    // The second job of the test above waits for an object that it may not make.
    assert.deepEqual(
      names.filter((name) => !/^OnebyteJob(Stalled|ShortOfWorkers)$/.test(name)),
      [],
    );
  });
});
