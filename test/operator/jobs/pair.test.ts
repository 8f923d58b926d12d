import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fineTuneJobs, type Job } from '../../../operator/jobs/job.ts';
import { type Client, pods } from '../../../operator/kube/mod.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { clientOf, until } from '../kube/setup.ts';
import { manifest } from './builder.ts';
import { applyCrd, podsOf } from './harness.ts';

const skip = await clusterMissing();

interface Operator {
  readonly name: string;
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
  leadsSince: number | null;
  /** Where it serves its health. */
  port: number | null;
}

interface Audit {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly resource: string; readonly name?: string };
  readonly responseStatus?: { readonly code: number };
  readonly requestReceivedTimestamp: string;
}

describe('two operators with one lease', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  const all: Operator[] = [];

  before(async () => {
    cluster = await startCluster({ audit: true });
    client = await clientOf(cluster);
    await applyCrd(cluster);
    for (const name of ['one', 'two', 'three'])
      await cluster.kubectl([
        'create',
        'clusterrolebinding',
        name,
        '--clusterrole=cluster-admin',
        `--user=${name}`,
      ]);
  });
  after(async () => {
    for (const { child } of all) child.kill('SIGKILL');
    client?.close();
    await cluster?.down();
  });

  async function launch(name: string): Promise<Operator> {
    const kubeconfig = await cluster.userKubeconfig(name);
    const child = spawn(process.execPath, [join(import.meta.dirname, 'program.ts'), kubeconfig, name], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const operator: Operator = {
      name,
      child,
      exit: once(child, 'exit').then(([code]) => code),
      leadsSince: null,
      port: null,
    };
    createInterface(child.stdout!).on('line', (line) => {
      if (line === 'leading') operator.leadsSince = performance.now();
      if (line.startsWith('port ')) operator.port = Number(line.slice(5));
    });
    all.push(operator);
    return operator;
  }
  const leads = (operator: Operator) => until(`${operator.name} leads`, () => operator.leadsSince !== null);
  /** Its stores are filled: it could lead at once. */
  const isWarm = (operator: Operator) =>
    until(`${operator.name} is warm`, async () => {
      if (operator.port === null) return false;
      return (await fetch(`http://127.0.0.1:${operator.port}/readyz`)).ok;
    });
  const make = (from: number, to: number) =>
    Promise.all(
      Array.from({ length: to - from }, (_, n) =>
        client.create(fineTuneJobs, manifest(`job-${from + n}`, { replicas: 3 }) as Job),
      ),
    );
  const untilPods = (wanted: number) =>
    until(
      `${wanted} pods`,
      async () => (await client.listAll(pods, { namespace: 'default' })).length === wanted,
    );
  /** Writes by an operator, without those to its lease. */
  const writes = async (): Promise<Audit[]> => {
    const lines = (await readFile(join(cluster.folder, 'audit.log'), 'utf8')).trimEnd().split('\n');
    const names = all.map(({ name }) => name);
    return lines
      .map((line): Audit => JSON.parse(line))
      .filter((audit) => names.includes(audit.user.username) && audit.objectRef?.resource !== 'leases');
  };

  test('one works, the other waits; after kill -9 and after a clean stop the next goes on, and nothing is done twice', async (t) => {
    const one = await launch('one');
    await leads(one);
    const two = await launch('two');
    await isWarm(two);
    await make(0, 20);
    await untilPods(60);
    await make(20, 40);
    one.child.kill('SIGKILL');
    const killedAt = performance.now();
    await leads(two);
    t.diagnostic(`after kill -9: ${((two.leadsSince! - killedAt) / 1_000).toFixed(1)} s`);
    await untilPods(120);

    const three = await launch('three');
    await isWarm(three);
    // And has seen who leads.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    two.child.kill('SIGTERM');
    const stoppedAt = performance.now();
    await leads(three);
    t.diagnostic(`after a clean stop: ${((three.leadsSince! - stoppedAt) / 1_000).toFixed(1)} s`);
    assert.equal(await two.exit, 0);
    await client.delete(pods, { namespace: 'default', name: 'job-7-1' });
    await untilPods(120);
    assert.equal((await podsOf(client, 'job-7')).length, 3);

    const made = (await writes()).filter(
      ({ verb, objectRef, responseStatus }) =>
        verb === 'create' && objectRef?.resource === 'pods' && responseStatus?.code === 201,
    );
    // The audit log leaves out names that are in the body only.
    assert.equal(made.length, 121);
    const order = (await writes()).map(({ user }) => user.username);
    const changes = order.filter((name, i) => i === 0 || order[i - 1] !== name);
    assert.deepEqual(changes, ['one', 'two', 'three'], 'nobody wrote after the next one had begun');
  });
});
