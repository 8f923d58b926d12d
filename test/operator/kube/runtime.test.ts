import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import type { Client } from '../../../operator/kube/client.ts';
import { realClock } from '../../../operator/kube/clock.ts';
import { configMaps, events, leases } from '../../../operator/kube/object.ts';
import { runOperator } from '../../../operator/kube/runtime.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { clientOf, until } from './setup.ts';

const skip = await clusterMissing();
const MiB = 2 ** 20;

interface Copier {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly exit: Promise<number | null>;
}

describe('runOperator', { skip }, () => {
  let cluster: Cluster;
  let client: Client;
  let account: string;
  const children: ChildProcess[] = [];

  before(async () => {
    cluster = await startCluster({ controllerManager: true, audit: true });
    client = await clientOf(cluster);
    await cluster.kubectl(['create', 'serviceaccount', 'copier']);
    const binding = ['create', 'clusterrolebinding', 'copier', '--clusterrole=cluster-admin'];
    await cluster.kubectl([...binding, '--serviceaccount=default:copier']);
    account = await cluster.serviceAccountFolder('default', 'copier');
  });
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    client?.close();
    await cluster?.down();
  });

  function launch(identity: string): Copier {
    const { hostname, port } = new URL(cluster.url);
    const env = {
      ...process.env,
      KUBECONFIG: '',
      KUBERNETES_SERVICE_HOST: hostname,
      KUBERNETES_SERVICE_PORT: port,
    };
    const child = spawn(process.execPath, [join(import.meta.dirname, 'sample.ts'), identity, account], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const lines: string[] = [];
    createInterface(child.stdout!).on('line', (line) => lines.push(line));
    return { child, lines, exit: once(child, 'exit').then(([code]) => code) };
  }
  const leads = (copier: Copier) => () => copier.lines.some((line) => line.startsWith('leading'));
  const portOf = (copier: Copier) => copier.lines[0]?.split(' ')[1];
  const make = (from: number, to: number) =>
    Promise.all(
      Array.from({ length: to - from }, (_, n) =>
        client.apply(configMaps, {
          metadata: { namespace: 'default', name: `source-${from + n}`, labels: { copy: 'yes' } },
          data: { value: String(n) },
        }),
      ),
    );
  const copies = async () =>
    (await client.listAll(configMaps, { namespace: 'default' })).filter((o) =>
      o.metadata.name.endsWith('-copy'),
    );

  test('an operator copies, heals, is idle with little memory and few connections, and stops in order', async (t) => {
    const copier = launch('one');
    await until('leading', leads(copier));
    await until('ready', async () => (await fetch(`http://127.0.0.1:${portOf(copier)}/readyz`)).ok);
    await make(0, 20);
    await until('copies', async () => (await copies()).length === 20);
    await client.delete(configMaps, { namespace: 'default', name: 'source-3-copy' });
    await until('healed', async () => (await copies()).length === 20);
    await client.patch(
      configMaps,
      { namespace: 'default', name: 'source-4-copy' },
      { data: { value: 'changed' } },
    );
    const value = async () =>
      (await client.get(configMaps, { namespace: 'default', name: 'source-4-copy' })).data?.value;
    await until('put right', async () => (await value()) === '4');
    // The owner goes, the garbage collector takes the copy.
    await client.delete(configMaps, { namespace: 'default', name: 'source-5' });
    await until('collected', async () => (await copies()).length === 19);

    const writes = async () => {
      const lines = (await readFile(join(cluster.folder, 'audit.log'), 'utf8')).trimEnd().split('\n');
      const ours = lines.map((line) => JSON.parse(line)).filter((e) => e.user.username.endsWith(':copier'));
      return ours.filter((e) => e.objectRef.resource !== 'leases').length;
    };
    // Idle connections close after 5 s; repeated events, still to be written, wait 1 s.
    await realClock.sleep(6_000);
    const before = await writes();
    await realClock.sleep(4_000);
    assert.equal((await writes()) - before, 0, 'writes at rest');
    const status = await readFile(`/proc/${copier.child.pid}/status`, 'utf8');
    const resident = (Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1_024) / MiB;
    t.diagnostic(`at rest: ${resident.toFixed(0)} MiB resident, ${copier.lines.at(-1)}`);
    const text = await (await fetch(`http://127.0.0.1:${portOf(copier)}/metrics`)).text();
    assert.match(text, /leader_election_master_status\{name="copier"\} 1/);
    assert.match(text, /controller_runtime_reconcile_errors_total\{controller="copier"\} 0/);

    copier.child.kill('SIGTERM');
    assert.equal(await copier.exit, 0);
    const lease = await client.get(leases, { namespace: 'default', name: 'copier' });
    assert.equal(lease.spec?.holderIdentity, '');
    const told = (await client.listAll(events, { namespace: 'default' })).filter(
      (e) => e.reason === 'Copied',
    );
    assert.ok(told.length >= 20);
  });

  test('an operator killed in the middle leaves nothing that its successor does not put right', async () => {
    const first = launch('killed');
    await until('leading', leads(first));
    const making = make(100, 160);
    await until('some copies', async () => (await copies()).length > 25);
    first.child.kill('SIGKILL');
    await making;
    const next = launch('successor');
    await until('copies', async () => (await copies()).length === 79);
    next.child.kill('SIGTERM');
    assert.equal(await next.exit, 0);
  });

  test('a lost lease ends the process with an error, and stores that do not fill do too', async () => {
    const copier = launch('robbed');
    await until('leading', leads(copier));
    await client.patch(
      leases,
      { namespace: 'default', name: 'copier' },
      { spec: { holderIdentity: 'robber' } },
    );
    assert.notEqual(await copier.exit, 0);
    const never = {
      synced: new Promise<void>(() => {}),
      run: (signal: AbortSignal) => once(signal, 'abort').then(() => {}),
    };
    const options = {
      client: await clientOf(cluster),
      clock: realClock,
      controllers: [],
      informers: [never],
      syncMs: 20,
    };
    await assert.rejects(runOperator(options, new AbortController().signal), /not filled within 20 ms/);
  });
});
