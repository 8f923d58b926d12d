/** Everything that goes wrong on a cluster, done for real while a run trains; each ends in the right state and status. */
import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { JwtOperator } from '../nats/jwt.ts';
import { FaultRun, RUN } from './fault-run.ts';
import { condition, eventReasons } from './job-view.ts';
import { Lab, labMissing, SYSTEM, TEAM } from './lab.ts';
import { killWith, offerToOomKiller, processesWith } from './pods.ts';

const skip = await labMissing();

describe('a run on nodes that fail', { skip }, () => {
  let lab: Lab;
  let run: FaultRun;

  /** One process of each worker: threads of it are none. */
  const worker = (name: string) => ({ ONEBYTE_WORKER: name, ONEBYTE_JOB_UID: run.uid });

  before(async () => {
    // What the faults are not about stays on the first node.
    const first = { 'kubernetes.io/hostname': 'node1' };
    const values = {
      operator: { pollSeconds: 1, nodeSelector: first },
      'nats-server': { podTemplate: { merge: { spec: { nodeSelector: first } } } },
    };
    lab = await Lab.start({ nodes: 3, values }, (line) => console.log(line));
    run = await FaultRun.start(lab);
  });
  after(async () => {
    await run?.watch.close();
    await lab?.down();
  });

  test('a worker is killed (kill -9): the others go on, and it comes back', async (t) => {
    await run.suffers(t, 'kill -9 of a worker', async () => {
      assert.equal(await killWith(worker(`${RUN}-1`)), 1);
    });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('all workers are killed at once: the run goes on from its log', async (t) => {
    await run.suffers(t, 'kill -9 of all workers', async () => {
      assert.equal(await killWith({ ONEBYTE_JOB_UID: run.uid }), 3);
    });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the operator is killed (kill -9): training does not notice, and the next one knows all', async (t) => {
    await run.suffers(t, 'kill -9 of the operator', async () => {
      assert.equal(await killWith({ ONEBYTE_LEADER_ELECTION: 'true', ONEBYTE_NAMESPACE: SYSTEM }), 1);
    });
    const { round = 0 } = (await run.job()).status ?? {};
    await lab.until('the status goes on', async () => ((await run.job()).status?.round ?? 0) > round);
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('there is no operator for a minute: the run is as fast as before', async (t) => {
    const window = 30_000;
    await sleep(window);
    const before = run.watch.rate(window);
    const scale = (replicas: number) =>
      lab.kubectl('-n', SYSTEM, 'scale', 'deployment/onebyte', `--replicas=${replicas}`);
    await scale(0);
    await sleep(60_000);
    const without = run.watch.rate(60_000);
    await scale(1);
    t.diagnostic(
      `rounds a second: ${before.toFixed(2)} with the operator, ${without.toFixed(2)} without: ${(without / before).toFixed(2)}`,
    );
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the server of NATS is killed (kill -9): workers wait for it and go on', async (t) => {
    await run.suffers(t, 'kill -9 of nats-server', async () => {
      assert.equal(await killWith({ POD_NAME: 'nats-0' }), 1);
    });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the pod of NATS is deleted: it comes back on its volume', async (t) => {
    await run.suffers(t, 'kubectl delete pod nats-0', async () => {
      await lab.kubectl('-n', SYSTEM, 'delete', 'pod', 'nats-0', '--wait=false');
    });
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the API server is killed and comes back: training does not notice', async (t) => {
    await run.suffers(t, 'API server away for 15 s', async () => {
      await lab.cluster.stopApiServer();
      await sleep(15_000);
      await lab.cluster.startApiServer();
    });
    await run.isWell(3);
    await lab.kubectl('-n', TEAM, 'scale', `ftj/${RUN}`, '--replicas=4');
    await run.isWell(4);
    await lab.kubectl('-n', TEAM, 'scale', `ftj/${RUN}`, '--replicas=3');
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('a container runs out of memory: the kernel ends the worker, and it comes back', async (t) => {
    const name = `${RUN}-0`;
    const [pid] = await processesWith(worker(name));
    await offerToOomKiller(pid!);
    await run.suffers(t, 'a worker out of memory', async () => {
      // Another process of the container takes what its limit leaves.
      const hog = 'const all = []; for (;;) all.push(Buffer.alloc(2 ** 25, 1));';
      await lab.kubectl('-n', TEAM, 'exec', name, '--', 'node', '-e', hog).catch(() => '');
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
    assert.equal((await run.pods()).length, 3);
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

  test('the volume of NATS is put back to an older copy: every worker takes back what is gone, exactly', async (t) => {
    const volume = lab.volume('nats');
    const scale = async (replicas: number) => {
      await lab.kubectl('-n', SYSTEM, 'scale', 'statefulset/nats', `--replicas=${replicas}`);
      await lab.kubectl('-n', SYSTEM, 'rollout', 'status', 'statefulset/nats', '--timeout=120s');
      if (replicas > 0) return;
      await lab.until('no server', async () => (await processesWith({ POD_NAME: 'nats-0' })).length === 0);
    };
    await scale(0);
    await cp(volume, `${volume}.older`, { recursive: true, preserveTimestamps: true });
    await scale(1);
    await run.goesOn(50);
    const lost = run.watch.round;
    await run.suffers(t, 'NATS restored to an older state', async () => {
      await scale(0);
      await rm(volume, { recursive: true });
      await cp(`${volume}.older`, volume, { recursive: true, preserveTimestamps: true });
      await scale(1);
    });
    const back = run.watch.seen.findLast(({ record }) => record === null);
    assert.ok(back !== undefined, 'the log was seen to have lost its end');
    t.diagnostic(`the log went back from round ${lost} to ${back.ledger.totals.rounds}`);
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('credentials are not the right ones: the worker says so, the others go on, and the right ones mend it', async (t) => {
    const secret = `${RUN}-2-${run.uid.slice(0, 8)}`;
    const get = () => lab.kubectl('-n', TEAM, 'get', 'secret', secret, '-o', 'jsonpath={.data.credentials}');
    const set = (data: string) =>
      lab.kubectl(
        '-n',
        TEAM,
        'patch',
        'secret',
        secret,
        '--type=merge',
        `--patch=${JSON.stringify({ data: { credentials: data } })}`,
      );
    const right = await get();
    const wrong = Buffer.from(new JwtOperator().credentials('stranger')).toString('base64');
    await run.suffers(t, 'credentials of another account', async () => {
      await set(wrong);
      // Mounted secrets follow in a while; the worker reads them as it starts.
      await lab.kubectl('-n', TEAM, 'delete', 'pod', `${RUN}-2`, '--wait=false');
    });
    if ((await get()) === wrong) {
      await lab.until(
        'the status says so',
        async () => /NATS_DENIED/.test(JSON.stringify((await run.job()).status)),
        240_000,
      );
      await set(right);
    }
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the disk of a node is full: its workers are evicted and made anew elsewhere', async (t) => {
    const name = await nodeWithWorkers();
    const node = lab.cluster.nodes.find((one) => one.name === name)!;
    const full = `${node.place.folder}/disk/full`;
    await run.suffers(t, `the disk of ${name} is full`, async () => {
      await node.run('sh', ['-c', `dd if=/dev/zero of=${full} bs=1M 2>/dev/null; true`]);
      const path = 'jsonpath={.status.conditions[?(@.type=="DiskPressure")].status}';
      await lab.until(
        'pressure',
        async () => (await lab.kubectl('get', 'node', name, '-o', path)) === 'True',
      );
    });
    await run.isWell(3, 300_000);
    await rm(full);
    await run.isTrue(t);
  });

  test('after all that, deleting the job leaves nothing', async () => {
    const reasons = await eventReasons(lab, RUN);
    assert.ok(reasons.includes('WorkerReplaced'), reasons.join(', '));
    await lab.kubectl('-n', TEAM, 'delete', 'ftj', RUN, '--timeout=120s');
    await lab.until('no pods', async () => (await run.pods()).length === 0);
    const left = await lab.kubectl(
      '-n',
      TEAM,
      'get',
      'secrets,services,poddisruptionbudgets,serviceaccounts',
      '-o',
      'name',
    );
    assert.equal(
      left
        .split('\n')
        .filter((line) => line.includes(`/${RUN}-`))
        .join(),
      '',
    );
  });

  /** A node, not the first, that has a worker. */
  async function nodeWithWorkers(): Promise<string> {
    const names = (await run.pods()).map(({ spec }) => spec?.nodeName);
    const name = names.find((one) => one !== undefined && one !== 'node1');
    if (name !== undefined) return name;
    // All are on the first: one of them goes, and may not come back there.
    await lab.kubectl('cordon', 'node1');
    await lab.kubectl('-n', TEAM, 'delete', 'pod', `${RUN}-0`);
    await run.isWell(3);
    await lab.kubectl('uncordon', 'node1');
    return nodeWithWorkers();
  }
});
