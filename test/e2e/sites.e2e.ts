/** Two clusters, one job: workers of a second cluster take part with credentials only, straight and through a leaf node. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { command } from '../cluster/command.ts';
import { NATS_IMAGE, natsArchive } from '../cluster/nats-image.ts';
import { productImage } from '../cluster/product-image.ts';
import { FaultRun } from './fault-run.ts';
import { Lab, labMissing } from './lab.ts';
import { RunWatch } from './run-watch.ts';
import { claimObject, volumeObject } from './storage.ts';

const skip = await labMissing();
const root = join(import.meta.dirname, '..', '..');
const data = join(root, 'examples', 'sentiment', 'data');
const DOMAIN = 'hub';

interface Door {
  readonly server: Server;
  /** Who still talks is cut off: a cluster that is gone does not say good-bye, and one open socket keeps this process. */
  close(): void;
}

/** Lets a cluster reach one port of another: nothing else goes from one to the other. */
async function doorTo(host: string, address: string, port: number): Promise<Door> {
  const open = new Set<Socket>();
  const server = createServer((here) => {
    const there = connect(port, address);
    here.pipe(there).pipe(here);
    for (const socket of [here, there]) {
      open.add(socket);
      socket.on('close', () => open.delete(socket));
      socket.on('error', () => {
        here.destroy();
        there.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const close = () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  return { server, close };
}

const portOf = ({ server }: Door) => (server.address() as { port: number }).port;

describe('a second cluster', { skip }, () => {
  let lab: Lab;
  let run: FaultRun;
  let site: Cluster;
  let folder: string;
  const doors: Door[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onebyte-site-'));
    const config = { leafnodes: { enabled: true }, jetstream: { merge: { domain: DOMAIN } } };
    const log = (line: string) => console.log(line);
    const images = [(await productImage('e2e')).path, await natsArchive()];
    const hub = async () => {
      lab = await Lab.start({ nodes: 1, values: { 'nats-server': { config } } }, log);
      run = await FaultRun.start(lab, 2);
    };
    const other = async () => {
      site = await startCluster({ nodes: 1, images });
    };
    await Promise.all([hub(), other()]);
    const { hostname } = new URL(await lab.natsUrl());
    for (const port of [4222, 7422]) doors.push(await doorTo(site.network!.host, hostname, port));
    await site.kubectl(['create', 'namespace', 'hospital']);
    const level = 'pod-security.kubernetes.io/enforce=restricted';
    await site.kubectl(['label', 'namespace', 'hospital', level]);
    const objects = [
      volumeObject('hospital', 'models', lab.volume('models')),
      claimObject('hospital', 'models'),
    ];
    await apply({ apiVersion: 'v1', kind: 'List', items: objects });
    const rows = ['train', 'validation'].map((split) => `--from-file=${data}/tweets-${split}.jsonl`);
    await kubectl('create', 'configmap', 'site-data', ...rows);
  });
  after(async () => {
    for (const door of doors) door.close();
    await run?.watch.close();
    await Promise.all([site?.down(), lab?.down()]);
    await rm(folder, { recursive: true, force: true });
  });

  const kubectl = (...args: string[]) => site.kubectl(['-n', 'hospital', ...args]);
  const apply = (object: object | string) =>
    site.kubectl(
      ['-n', 'hospital', 'apply', '--server-side', '-f', '-'],
      typeof object === 'string' ? object : JSON.stringify(object),
    );

  /** As the page says. */
  async function credentials(worker: string, domain: string): Promise<string> {
    const seed = join(folder, 'account.seed');
    await writeFile(seed, lab.nats.accountSeed, { mode: 0o600 });
    const main = join(root, 'cli', 'main.ts');
    const args = ['credentials', run.uid, worker, '--account-seed', seed];
    return command('env', [`ONEBYTE_NATS_DOMAIN=${domain}`, process.execPath, main, ...args]);
  }

  function manifest(url: string, name: string): string {
    const { repository, tag } = lab.image;
    // No node has a way to where models are: the cache has it already.
    return readFileSync(join(root, 'examples', 'site', 'worker.yaml'), 'utf8')
      .replaceAll('RUN_UID', run.uid)
      .replace('cache, emptyDir: {}', 'cache, persistentVolumeClaim: { claimName: models }')
      .replaceAll('NATS_ADDRESS', url)
      .replace('image: onebyte:0.1.0', `image: ${repository}:${tag}`)
      .replaceAll('name: site }', `name: ${name} }`)
      .replace('serviceName: site', `serviceName: ${name}`)
      .replaceAll('app: onebyte-site', `app: ${name}`)
      .replace('secretName: onebyte-site', `secretName: ${name}`);
  }

  /** Until a worker of that name has its bytes in a round. */
  async function contributes(name: string): Promise<void> {
    const from = performance.now();
    const has = () =>
      run.watch.rounds.some((round) => round.at > from && RunWatch.contributors(round).includes(name));
    await lab.until(`${name} contributes`, has, 300_000).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await kubectl('logs', name).catch(String)}`);
    });
  }

  test('joins a worker to a run by credentials alone', async (t) => {
    const file = join(folder, 'site-0.creds');
    await writeFile(file, await credentials('site-0', ''));
    await kubectl('create', 'secret', 'generic', 'site', `--from-file=credentials=${file}`);
    const url = `nats://${site.network!.host}:${portOf(doors[0]!)}`;
    const from = performance.now();
    await apply(manifest(url, 'site'));
    await contributes('site-0');
    t.diagnostic(`its first byte in a record after ${((performance.now() - from) / 1000).toFixed(1)} s`);
    await run.isWell(2, { members: 3 });
    await run.isTrue(t);
  });

  test('joins another through a leaf node of its own, which alone has credentials', async (t) => {
    const creds = await credentials('leaf-0', DOMAIN);
    const remote = {
      url: `nats-leaf://${site.network!.host}:${portOf(doors[1]!)}`,
      credentials: '/etc/nats/site.creds',
    };
    const security = {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    };
    await apply({
      apiVersion: 'v1',
      kind: 'List',
      items: [
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: 'leaf-nats' },
          stringData: {
            'site.creds': creds,
            'nats.conf': JSON.stringify({ port: 4222, leafnodes: { remotes: [remote] } }),
          },
        },
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'nats' },
          spec: { selector: { app: 'nats' }, ports: [{ port: 4222 }] },
        },
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'nats', labels: { app: 'nats' } },
          spec: {
            automountServiceAccountToken: false,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: 1000,
              seccompProfile: { type: 'RuntimeDefault' },
            },
            containers: [
              {
                name: 'nats',
                image: NATS_IMAGE,
                imagePullPolicy: 'Never',
                args: ['-c', '/etc/nats/nats.conf'],
                securityContext: security,
                volumeMounts: [{ name: 'config', mountPath: '/etc/nats', readOnly: true }],
              },
            ],
            volumes: [{ name: 'config', secret: { secretName: 'leaf-nats' } }],
          },
        },
      ],
    });
    const domain = `- { name: ONEBYTE_NATS_DOMAIN, value: ${DOMAIN} }\n            - { name: ONEBYTE_NATS_SECRET`;
    const text = manifest('nats://nats.hospital.svc:4222', 'leaf');
    await apply(text.replace('- { name: ONEBYTE_NATS_SECRET', domain));
    await contributes('leaf-0');
    await run.isWell(2, { members: 4 });
    // The site goes: the run goes on.
    await kubectl('delete', 'statefulset', 'site', 'leaf');
    await run.isWell(2);
    await run.isTrue(t);
    assert.equal(run.watch.ledger?.members.length, 2);
  });
});
