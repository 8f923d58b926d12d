import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import { type Client, type KubeObject, namespaced, pods } from '../../../operator/kube/mod.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { NatsSystem } from '../../nats/server.ts';
import { missing } from '../../tools/tool.ts';
import { manifest } from '../jobs/builder.ts';
import { conditionText, getJob, Kubelets, podsOf } from '../jobs/harness.ts';
import { clientOf, until } from '../kube/setup.ts';
import { chart, helm } from './helm.ts';

const skip = (await clusterMissing()) || (await missing('helm', 'nats-server'));
const root = join(import.meta.dirname, '..', '..', '..');

interface Deployment extends KubeObject {
  spec: {
    template: {
      spec: { serviceAccountName: string; containers: { env: { name: string; value?: string }[] }[] };
    };
  };
}
const deployments = namespaced<Deployment>('apps/v1', 'Deployment', 'deployments');

describe('the chart, installed on a real API server with NATS', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let nats: NatsSystem;
  let kubelets: Kubelets;
  let operator: ChildProcess | undefined;
  let port = 0;
  const said: string[] = [];

  before(async () => {
    [cluster, nats] = await Promise.all([startCluster({ controllerManager: true }), NatsSystem.start()]);
    client = await clientOf(cluster);
    for (const name of ['onebyte', 'team-a', 'team-b']) await cluster.kubectl(['create', 'namespace', name]);
  });
  after(async () => {
    operator?.kill('SIGKILL');
    await kubelets?.stop();
    client?.close();
    await cluster?.down();
    await nats?.end();
  });

  const values = () => ({ nats: { url: nats.url() }, watchNamespaces: ['team-a'] });
  const release = (args: string[], with_?: object) =>
    helm([...args, '--namespace', 'onebyte'], with_, cluster.kubeconfig);

  /** What the container of the Deployment would run, as its service account. */
  async function startAsDeployed(): Promise<void> {
    const deployment = await client.get(deployments, { namespace: 'onebyte', name: 'onebyte' });
    const { containers, serviceAccountName } = deployment.spec.template.spec;
    const env = Object.fromEntries(containers[0]!.env.map(({ name, value }) => [name, value ?? '']));
    const token = (await cluster.kubectl(['-n', 'onebyte', 'create', 'token', serviceAccountName])).trim();
    const kubeconfig = parse(await readFile(cluster.kubeconfig, 'utf8'));
    for (const { user } of kubeconfig.users) {
      for (const key of Object.keys(user)) delete user[key];
      user.token = token;
    }
    const file = join(cluster.folder, 'operator.kubeconfig');
    await writeFile(file, stringify(kubeconfig));
    const more = {
      ONEBYTE_POD_NAME: 'operator-0',
      ONEBYTE_NAMESPACE: 'onebyte',
      ONEBYTE_PORT: '0',
      ONEBYTE_HOST: '127.0.0.1',
    };
    const { PATH = '' } = process.env;
    operator = spawn(process.execPath, [join(root, 'cli', 'main.ts'), 'operator'], {
      env: { PATH, ...env, ...more, KUBECONFIG: file, ONEBYTE_POLL_SECONDS: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface(operator.stdout!).on('line', (line) => {
      said.push(line);
      const { port: served } = JSON.parse(line) as { port?: number };
      if (served !== undefined) port = served;
    });
    await until('leading', () => said.some((line) => line.includes('"leading"')));
  }

  test('helm installs it', async () => {
    const { code, stderr, stdout } = await release(['install', 'onebyte', chart], values());
    assert.equal(code, 0, stderr);
    assert.match(stdout, /kubectl get finetunejobs --all-namespaces --watch/);
    const explain = () => cluster.kubectl(['explain', 'finetunejob.spec.replicas']).catch(() => '');
    await until('the API is served', async () => (await explain()) !== '');
    const explained = await explain();
    assert.match(explained, /How many workers read spec.data/);
  });

  test('the operator does all its work with the rights of the chart, in the namespaces that it was given', async (t) => {
    await startAsDeployed();
    kubelets = new Kubelets(client);
    const create = (namespace: string) =>
      client.create(fineTuneJobs, {
        ...(manifest('tune', { replicas: 2, ttlSecondsAfterFinished: 3_600 }) as Job),
        metadata: { name: 'tune', namespace },
      });
    await create('team-a');
    await create('team-b');
    await until('workers', async () => (await podsOf(client, 'tune', 'team-a')).length === 2);
    await until(
      'scaled',
      async () => conditionText(await getJob(client, 'tune', 'team-a'), 'Scaled') === 'True Stable',
    );
    const { status, metadata } = await getJob(client, 'tune', 'team-a');
    assert.equal(status?.stream, `onebyte-${metadata.uid}`);
    assert.equal((await getJob(client, 'tune', 'team-b')).status, undefined);
    const mistakes = said.filter((line) => JSON.parse(line).level >= 40);
    assert.deepEqual(mistakes, []);
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    assert.match(
      text,
      /onebyte_job_workers\{namespace="team-a",finetunejob="tune",group="",state="ready"\} 2/,
    );
    assert.match(text, /onebyte_operator_log_reads_total\{outcome="empty"\} [1-9]/);
    const rss = /^process_resident_memory_bytes (\S+)/m.exec(text)![1];
    t.diagnostic(`the operator's resident memory: ${(Number(rss) / 2 ** 20).toFixed(0)} MiB`);
  });

  test('nobody else writes a job’s status or takes its finalizer away, unless the log is to stay', async () => {
    await cluster.kubectl([
      '-n',
      'team-a',
      'create',
      'rolebinding',
      'jane',
      '--clusterrole=edit',
      '--user=jane',
    ]);
    await cluster.kubectl([
      '-n',
      'team-a',
      'create',
      'role',
      'status',
      '--verb=patch',
      '--resource=finetunejobs/status',
    ]);
    await cluster.kubectl([
      '-n',
      'team-a',
      'create',
      'rolebinding',
      'status',
      '--role=status',
      '--user=jane',
    ]);
    const jane = await cluster.userKubeconfig('jane');
    const asJane = (...args: string[]) => cluster.kubectl([`--kubeconfig=${jane}`, '-n', 'team-a', ...args]);
    await until('edit is aggregated', async () =>
      (await asJane('auth', 'can-i', 'patch', 'ftj').catch(() => 'no')).startsWith('yes'),
    );
    const patch = (json: object, ...args: string[]) =>
      asJane('patch', 'ftj', 'tune', '--type=merge', `--patch=${JSON.stringify(json)}`, ...args);
    // A policy takes a moment until it holds.
    await until('the policy holds', async () => {
      const refusal = await patch({ status: { round: 99 } }, '--subresource=status').catch(
        (error: Error) => error.message,
      );
      return /written by the operator alone/.test(refusal);
    });
    await assert.rejects(patch({ metadata: { finalizers: null } }), /keep-stream=true/);
    await asJane('scale', 'ftj/tune', '--replicas=3');
    await until('scaled', async () => (await podsOf(client, 'tune', 'team-a')).length === 3);
    await patch({ metadata: { annotations: { 'onebyte.dev/keep-stream': 'true' } } });
    await patch({ metadata: { finalizers: null } });
    await patch({ metadata: { annotations: { 'onebyte.dev/keep-stream': null } } });
  });

  test('helm upgrades, rolls back and uninstalls; workers stay through the first two, and jobs through all', async () => {
    const before = (await podsOf(client, 'tune', 'team-a')).map(({ metadata }) => metadata.uid);
    const changed = { ...values(), operator: { logLevel: 'debug' }, image: { tag: 'next' } };
    assert.equal((await release(['upgrade', 'onebyte', chart], changed)).code, 0);
    const deployed = async () =>
      (await client.get(deployments, { namespace: 'onebyte', name: 'onebyte' })).spec.template.spec
        .containers[0]!.env;
    assert.ok(
      (await deployed()).some(({ name, value }) => name === 'ONEBYTE_IMAGE' && value === 'onebyte:next'),
    );
    operator!.kill('SIGTERM');
    assert.equal((await once(operator!, 'exit'))[0], 0);
    said.length = 0;
    await startAsDeployed();
    await client.patch(
      fineTuneJobs,
      { namespace: 'team-a', name: 'tune' },
      { spec: { progressDeadlineSeconds: 700 } },
    );
    await until('seen by the new operator', async () => {
      const { metadata, status } = await getJob(client, 'tune', 'team-a');
      return status?.observedGeneration === metadata.generation;
    });
    assert.deepEqual(
      (await podsOf(client, 'tune', 'team-a')).map(({ metadata }) => metadata.uid),
      before,
    );

    assert.equal((await release(['rollback', 'onebyte', '1'])).code, 0);
    assert.ok(
      (await deployed()).some(({ name, value }) => name === 'ONEBYTE_IMAGE' && value === 'onebyte:0.1.0'),
    );

    await client.delete(fineTuneJobs, { namespace: 'team-a', name: 'tune' });
    await until(
      'workers are gone',
      async () => (await client.listAll(pods, { namespace: 'team-a' })).length === 0,
    );
    await until(
      'the job is gone',
      async () => (await client.listAll(fineTuneJobs, { namespace: 'team-a' })).length === 0,
    );
    operator!.kill('SIGTERM');
    assert.equal((await release(['uninstall', 'onebyte'])).code, 0);
    assert.equal((await client.listAll(fineTuneJobs)).length, 1, 'the job of team-b is still there');
    await assert.rejects(client.get(deployments, { namespace: 'onebyte', name: 'onebyte' }));
  });
});
