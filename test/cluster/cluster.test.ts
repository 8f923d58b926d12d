import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clusterMissing, startCluster } from './cluster.ts';

const skip = await clusterMissing();

/** Command lines of all processes that name a folder. */
async function processesOf(folder: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(folder));
}

describe('startCluster', { skip }, () => {
  test('two control planes at once do not meet, and leave nothing when they go', async (t) => {
    const both = await Promise.all([
      startCluster(),
      startCluster({ controllerManager: true, scheduler: true, audit: true }),
    ]);
    const [plain, full] = both;
    try {
      t.diagnostic(`ready after ${both.map((cluster) => `${Math.round(cluster.startMs)} ms`).join(' and ')}`);
      await plain.kubectl(['create', 'namespace', 'only-here']);
      assert.doesNotMatch(await full.kubectl(['get', 'namespaces']), /only-here/);
      // The full one has what pods need; the plain one takes pods all the same.
      for (const cluster of both) await cluster.kubectl(['run', 'pause', '--image=pause']);
      assert.match(await full.kubectl(['get', 'serviceaccounts']), /default/);
      assert.match(await readFile(join(full.folder, 'audit.log'), 'utf8'), /"verb":"create"/);
      const jane = await plain.userKubeconfig('jane', ['data-owners']);
      const refused = plain.kubectl([`--kubeconfig=${jane}`, 'get', 'pods']);
      await assert.rejects(refused, /User "jane" cannot list resource "pods"/);
      const account = await full.serviceAccountFolder('default', 'default');
      assert.match(await readFile(join(account, 'token'), 'utf8'), /^ey/);
    } finally {
      await Promise.all(both.map((cluster) => cluster.down()));
    }
    for (const cluster of both) {
      assert.equal(existsSync(cluster.folder), false);
      assert.deepEqual(await processesOf(cluster.folder), []);
    }
  });

  test('the API server comes back with its data after SIGKILL', async (t) => {
    const cluster = await startCluster();
    try {
      await cluster.kubectl(['create', 'configmap', 'kept']);
      await cluster.stopApiServer();
      await assert.rejects(cluster.kubectl(['get', 'configmap', 'kept']));
      const begin = performance.now();
      await cluster.startApiServer();
      t.diagnostic(`back after ${Math.round(performance.now() - begin)} ms`);
      assert.match(await cluster.kubectl(['get', 'configmap', 'kept']), /kept/);
    } finally {
      await cluster.down();
    }
  });

  test('a flag the API server refuses is reported with its own words, and nothing stays', async () => {
    const wrong = startCluster({ apiServerFlags: ['--no-such-flag'] });
    await assert.rejects(wrong, /unknown flag: --no-such-flag/);
  });

  test('everything ends and the folder goes when the test process is killed', async () => {
    const code = `import { startCluster } from ${JSON.stringify(join(import.meta.dirname, 'cluster.ts'))};
      const cluster = await startCluster(); console.log(cluster.folder); setInterval(() => {}, 1000);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const folder = await new Promise<string>((resolve) =>
      createInterface(owner.stdout).once('line', resolve),
    );
    assert.equal((await processesOf(folder)).length, 3); // etcd, kube-apiserver and the guard
    owner.kill('SIGKILL');
    while ((await processesOf(folder)).length > 0 || existsSync(folder) || existsSync(`${folder}.dead`))
      await sleep(50);
  });
});
