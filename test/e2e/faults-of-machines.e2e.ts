/** Machines, disks, images and cables that fail while a run trains; each ends in the right state and status. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from '../cluster/command.ts';
import { FAKETIME } from '../cluster/node-files.ts';
import { type FaultRun, RUN, startFaultRun } from './fault-run.ts';
import { condition } from './job-view.ts';
import { type Lab, labMissing } from './lab.ts';
import { SYSTEM, TEAM } from './namespaces.ts';
import { killWith, ofCluster, offerToOomKiller, processesWith } from './pods.ts';

const skip = await labMissing();
const noClock = existsSync(FAKETIME)
  ? false
  : 'libfaketime is not installed: it shifts the clock of containers';
/** Milliseconds. */
const HOUR = 3_600_000;
/** MiB of a full disk of 4 GiB that are left: the kubelet wants 3 percent. */
const KEPT = 64;

describe('a run whose machines fail', { skip }, () => {
  let lab: Lab;
  let run: FaultRun;

  /** One process of each worker. */
  const worker = (name: string) => ({ ONEBYTE_WORKER: name, ONEBYTE_JOB_UID: run.uid });

  before(async () => {
    [lab, run] = await startFaultRun(2);
  });
  after(async () => {
    await run?.watch.close();
    await lab?.down();
  });

  test('a container runs out of memory: the kernel ends the worker, and it comes back', async (t) => {
    const name = `${RUN}-0`;
    const [pid] = await processesWith(worker(name));
    await offerToOomKiller(pid!);
    await run.suffers(t, 'a worker out of memory', async () => {
      // Others in the container take what its limit leaves, each less than the worker has.
      const hog = 'const all = Buffer.alloc(230 * 2 ** 20, 1); setTimeout(() => all, 60_000);';
      const hogs = `for i in 1 2 3 4 5 6 7 8 9; do node -e '${hog}' & done; wait`;
      await lab.kubectl('-n', TEAM, 'exec', name, '--', 'sh', '-c', hogs).catch(() => '');
      await lab.until('the worker is gone', async () => !(await processesWith(worker(name))).includes(pid!));
    });
    await run.isWell(3);
    const pod = (await run.pods()).find(({ metadata }) => metadata.name === name);
    const last = pod?.status?.containerStatuses?.[0]?.lastState?.terminated;
    assert.equal(last?.exitCode, 137);
    t.diagnostic(`the kubelet says ${last?.reason}`);
    await run.isTrue(t);
  });

  test('an image that is not there, in a new group: the others go on, the status says it, and taking the group away mends it', async (t) => {
    const patch = (json: object) =>
      lab.kubectl('-n', TEAM, 'patch', 'ftj', RUN, '--type=merge', `--patch=${JSON.stringify(json)}`);
    const spec = { containers: [{ name: 'worker', image: 'onebyte.test/nowhere:1' }] };
    await run.suffers(t, 'a group whose image cannot be had', async () => {
      await patch({ spec: { groups: [{ name: 'late', replicas: 1, template: { spec } }] } });
    });
    await lab.until('the status says so', async () =>
      /Image/.test(condition(await run.job(), 'Scaled') + condition(await run.job(), 'Stalled')),
    );
    const job = await run.job();
    t.diagnostic(
      `Scaled ${condition(job, 'Scaled')}, Stalled ${condition(job, 'Stalled')}: ${job.status?.conditions?.find(({ type }) => type === 'Scaled')?.message}`,
    );
    assert.equal((await run.columns()).WORKERS, '3/4');
    await patch({ spec: { groups: null } });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('a node is drained: the disruption budget lets its workers go in order, and they come back elsewhere', async (t) => {
    const node = await nodeWithWorkers();
    await run.suffers(t, `kubectl drain ${node}`, async () => {
      await lab.kubectl(
        'drain',
        node,
        '--ignore-daemonsets',
        '--delete-emptydir-data',
        '--force',
        '--timeout=170s',
      );
    });
    await run.isWell(3);
    assert.ok((await run.pods()).every(({ spec }) => spec?.nodeName !== node));
    await lab.kubectl('uncordon', node);
    await run.isTrue(t);
  });

  test('a node is killed: the others go on, its workers are made anew elsewhere, and it comes back', async (t) => {
    const name = await nodeWithWorkers();
    const node = lab.cluster.nodes.find((one) => one.name === name)!;
    await run.suffers(t, `${name} is killed`, () => node.kill());
    await lab.cluster.nodeIs(node, false);
    await run.isWell(3);
    await node.start();
    await lab.cluster.nodeIs(node, true);
    await run.isWell(3);
    // Those of the lost node go only now that its kubelet can say that they have ended.
    await lab.until('the lost pods are gone', async () => (await run.pods()).length === 3);
    await run.isTrue(t);
  });

  test('a node is cut off for a while: its workers wait, the others go on, and all meet again', async (t) => {
    const name = await nodeWithWorkers();
    const node = lab.cluster.nodes.find((one) => one.name === name)!;
    await run.suffers(t, `${name} is cut off for 10 s`, async () => {
      await node.connect(false);
      await sleep(10_000);
      await node.connect(true);
    });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the clock of a node is an hour ahead: its workers take part as before', {
    skip: noClock,
  }, async (t) => {
    const name = await nodeWithWorkers();
    const node = lab.cluster.nodes.find((one) => one.name === name)!;
    const there = (await run.pods()).filter(({ spec }) => spec?.nodeName === name);
    await node.shiftClock('+3600s');
    // Containers have the node's clock from their start on: these start again, where they are.
    await run.suffers(t, `workers of ${name} killed, to start with a clock an hour ahead`, async () => {
      for (const { metadata } of there) await killWith(worker(metadata.name));
    });
    await run.isWell(3);
    const pod = there[0]!.metadata.name;
    const log = await lab.kubectl('-n', TEAM, 'logs', pod, '--tail=1');
    const ahead = (JSON.parse(log) as { time: number }).time - Date.now();
    assert.ok(Math.abs(ahead - HOUR) < HOUR / 4, `${pod} is ${ahead} ms ahead`);
    await run.goesOn(50);
    await run.isTrue(t);
    await node.shiftClock(null);
    await run.suffers(t, 'the same killed, to start with the right clock', async () => {
      for (const { metadata } of there) await killWith(worker(metadata.name));
    });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the volume of NATS is put back to an older copy: every worker takes back what is gone, exactly', async (t) => {
    const volume = lab.volume('nats');
    const server = { POD_NAME: 'nats-0', ...ofCluster(lab.cluster) };
    const scale = async (replicas: number) => {
      await lab.kubectl('-n', SYSTEM, 'scale', 'statefulset/nats', `--replicas=${replicas}`);
      await lab.kubectl('-n', SYSTEM, 'rollout', 'status', 'statefulset/nats', '--timeout=120s');
      if (replicas > 0) return;
      await lab.until('no server', async () => (await processesWith(server)).length === 0);
    };
    await scale(0);
    // As a backup does: the files stay their owner's.
    await command('cp', ['-a', volume, `${volume}.older`]);
    await scale(1);
    await run.goesOn(50);
    const lost = run.watch.round;
    await run.suffers(t, 'NATS restored to an older state', async () => {
      await scale(0);
      await rm(volume, { recursive: true });
      await command('cp', ['-a', `${volume}.older`, volume]);
      await scale(1);
    });
    const back = run.watch.seen.findLast(({ record }) => record === null);
    assert.ok(back !== undefined, 'the log was seen to have lost its end');
    t.diagnostic(`the log went back from round ${lost} to ${back.ledger.totals.rounds}`);
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the disk of a node is full: its workers are evicted, and it serves again once there is room', async (t) => {
    const name = await nodeWithWorkers();
    const node = lab.cluster.nodes.find((one) => one.name === name)!;
    const disk = `${node.place.folder}/disk`;
    const full = `${disk}/full`;
    // A real disk keeps its last percents for root: without any room the container runtime can end nothing.
    const fill = () =>
      node.run('sh', [
        '-c',
        `free=$(df --output=avail -m ${disk} | tail -1); [ $free -le ${KEPT} ] || dd if=/dev/zero bs=1M count=$((free - ${KEPT})) >> ${full} 2>/dev/null; true`,
      ]);
    await run.suffers(t, `the disk of ${name} is full`, async () => {
      await fill();
      await lab.until('pressure', async () => {
        // The room that the kubelet makes by removing images may be enough for it.
        await fill();
        const { status } = await lab.read<NodeView>(`/api/v1/nodes/${name}`);
        return status.conditions.some(({ type, status: is }) => type === 'DiskPressure' && is === 'True');
      });
    });
    const evicted = (await run.pods()).filter(({ spec }) => spec?.nodeName === name);
    const uids = evicted.map(({ metadata }) => metadata.uid);
    await lab.until('all have left it', async () => {
      await fill();
      return (await run.pods()).every(({ metadata }) => !uids.includes(metadata.uid));
    });
    await rm(full);
    // The kubelet has made room by removing images, and may have those of the cluster itself.
    await node.reload();
    await run.isWell(3);
    await run.isTrue(t);
  });

  /** A node, not the first, that has a worker. */
  async function nodeWithWorkers(): Promise<string> {
    const pods = await run.pods();
    const name = pods.map(({ spec }) => spec?.nodeName).find((one) => one !== undefined && one !== 'node1');
    if (name !== undefined) return name;
    // All are on the first: one of them goes, and may not come back there.
    await lab.kubectl('cordon', 'node1');
    await lab.kubectl('-n', TEAM, 'delete', 'pod', pods[0]!.metadata.name);
    await run.isWell(3);
    await lab.kubectl('uncordon', 'node1');
    return nodeWithWorkers();
  }
});

interface NodeView {
  readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string }[] };
}
