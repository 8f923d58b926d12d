import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cluster, startCluster } from './cluster.ts';
import { command } from './command.ts';
import { nodesMissing } from './machine.ts';
import { MAX_NODES, networkOf, nodeAddress } from './network.ts';
import { PAUSE_IMAGE } from './node-files.ts';

const skip = await nodesMissing();

/** What a cluster with nodes may leave in the kernel: its bridge and cables, control groups, mounts. */
async function tracesOf({ folder, network }: Cluster): Promise<string[]> {
  const links = (await command('ip', ['-o', 'link'])).split('\n');
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n');
  const groups = await command('find', ['/sys/fs/cgroup', '-maxdepth', '4', '-name', `${network!.bridge}-*`]);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return [
    ...links.filter((line) => new RegExp(` ${network!.bridge}(n\\d+)?[@:]`).test(line)),
    ...mounts.filter((line) => line.includes(folder)),
    ...groups.split('\n').filter(Boolean),
    ...lines.filter((line) => line.includes(folder)),
  ];
}

test('no two nodes of any two clusters share an address, a range or a cable', () => {
  const networks = [networkOf(0), networkOf(1), networkOf(63)];
  const all = networks.flatMap((network) => [
    network.host,
    network.dns,
    network.apiService,
    ...Array.from({ length: MAX_NODES }, (_, i) => Object.values(nodeAddress(network, i + 1))).flat(),
  ]);
  assert.equal(new Set(all).size, all.length);
  for (const name of all) assert.ok(!/^obx/.test(name) || name.length <= 15, `${name} is no name of a cable`);
});

describe('clusters with nodes', { skip }, () => {
  test('two at once run pods apart from each other, and leave nothing behind', async (t) => {
    const both = await Promise.all([startCluster({ nodes: 2 }), startCluster({ nodes: 1 })]);
    try {
      t.diagnostic(`ready after ${both.map((cluster) => `${Math.round(cluster.startMs)} ms`).join(' and ')}`);
      for (const cluster of both) {
        const nodes = await cluster.kubectl(['get', 'nodes', '-o', 'name']);
        assert.equal(nodes.trim().split('\n').length, cluster.nodes.length);
      }
      assert.notEqual(both[0].network!.bridge, both[1].network!.bridge);
    } finally {
      await Promise.all(both.map((cluster) => cluster.down()));
    }
    for (const cluster of both) {
      assert.equal(existsSync(cluster.folder), false);
      assert.deepEqual(await tracesOf(cluster), []);
    }
  });

  test('a node is killed, seen as lost, and comes back with its pods and its disk', async (t) => {
    const cluster = await startCluster({ nodes: 2 });
    try {
      const node = cluster.nodes[1]!;
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'stays' },
        spec: {
          nodeName: node.name,
          tolerations: [{ operator: 'Exists' }],
          containers: [{ name: 'pause', image: PAUSE_IMAGE, imagePullPolicy: 'Never' }],
        },
      };
      await cluster.kubectl(['apply', '-f', '-'], JSON.stringify(pod));
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/stays', '--timeout=60s']);
      let begin = performance.now();
      await node.kill();
      await cluster.nodeIs(node, false);
      t.diagnostic(`seen as lost after ${Math.round(performance.now() - begin)} ms`);
      begin = performance.now();
      await node.start();
      await cluster.nodeIs(node, true);
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/stays', '--timeout=60s']);
      t.diagnostic(`back with its pod after ${Math.round(performance.now() - begin)} ms`);
      const path = 'jsonpath={.status.containerStatuses[0].restartCount}';
      assert.equal(await cluster.kubectl(['get', 'pod', 'stays', '-o', path]), '1');
      // The cable is cut and mended: the same node, the same pod.
      await node.connect(false);
      await cluster.nodeIs(node, false);
      await node.connect(true);
      await cluster.nodeIs(node, true);
      await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/stays', '--timeout=60s']);
      assert.equal(await cluster.kubectl(['get', 'pod', 'stays', '-o', path]), '1');
    } finally {
      await cluster.down();
    }
    assert.deepEqual(await tracesOf(cluster), []);
  });

  test('nothing stays when the process that started the nodes is killed', async () => {
    const code = `import { startCluster } from ${JSON.stringify(new URL('./cluster.ts', import.meta.url).href)};
      const cluster = await startCluster({ nodes: 1 });
      console.log(JSON.stringify([cluster.folder, cluster.network.bridge])); setInterval(() => {}, 1000);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await new Promise<string[]>((resolve) =>
      owner.stdout.once('data', (data) => resolve(String(data).split('\n'))),
    );
    const [folder, bridge] = JSON.parse(line!) as [string, string];
    owner.kill('SIGKILL');
    const left = { folder, network: { bridge } } as Cluster;
    for (let tries = 0; ; tries++) {
      const traces = [...(await tracesOf(left)), ...(existsSync(`${folder}.dead`) ? [folder] : [])];
      if (traces.length === 0) break;
      if (tries === 600) assert.deepEqual(traces, []);
      await sleep(50);
    }
  });
});
