/** Programs that end, hang or are told wrong things while a run trains; each ends in the right state and status. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { JwtOperator } from '../nats/jwt.ts';
import { chart } from '../operator/chart/helm.ts';
import { type FaultRun, RUN, startFaultRun } from './fault-run.ts';
import { eventReasons, operatorPods } from './job-view.ts';
import { type Lab, labMissing } from './lab.ts';
import { SYSTEM, TEAM } from './namespaces.ts';
import { killWith, ofCluster } from './pods.ts';

const skip = await labMissing();

describe('a run whose programs fail', { skip }, () => {
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

  // The first of all: kubelets whose watches were cut off look again after a minute at most. Containers that end start again
  // meanwhile, so what the next tests do needs no new pods.
  test('the API server is killed and comes back: training does not notice', async (t) => {
    await run.suffers(t, 'API server away for 15 s', async () => {
      await lab.cluster.stopApiServer();
      await sleep(15_000);
      await lab.cluster.startApiServer();
    });
    await lab.kubectl('-n', TEAM, 'patch', 'ftj', RUN, '--type=merge', '-p', '{"spec":{"max":8}}');
    await lab.until('the operator has seen it', async () => {
      const { metadata, status } = await run.job();
      return status?.observedGeneration === metadata.generation;
    });
    await run.isWell(3);
    await run.isTrue(t);
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
      const operator = { ONEBYTE_LEADER_ELECTION: 'true', ...ofCluster(lab.cluster) };
      assert.equal(await killWith(operator), 1);
    });
    const { round = 0 } = (await run.job()).status ?? {};
    await lab.until('the status goes on', async () => ((await run.job()).status?.round ?? 0) > round);
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('there is no operator for a minute: the run is as fast as before', async (t) => {
    const window = 20_000;
    await sleep(window);
    const before = run.watch.rate(window);
    const scale = (replicas: number) =>
      lab.kubectl('-n', SYSTEM, 'scale', 'deployment/onebyte', `--replicas=${replicas}`);
    await scale(0);
    await lab.until('there is no operator', async () => (await operatorPods(lab)).length === 0);
    const inTeam = (...args: string[]) => lab.kubectl('-n', TEAM, ...args);
    await sleep(60_000);
    const without = run.watch.rate(60_000);
    // Asked for while nobody listens, and not forgotten.
    await inTeam('scale', `ftj/${RUN}`, '--replicas=4');
    await scale(1);
    t.diagnostic(
      `rounds a second: ${before.toFixed(2)} with the operator, ${without.toFixed(2)} without: ${(without / before).toFixed(2)}`,
    );
    await run.isWell(4);
    await inTeam('scale', `ftj/${RUN}`, '--replicas=3');
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('the chart is upgraded and rolled back: no worker starts anew, and training does not notice', async (t) => {
    const workers = async () =>
      (await run.pods()).map(({ metadata, status }) => [
        metadata.uid,
        status?.containerStatuses?.[0]?.containerID,
      ]);
    const before = await workers();
    const replaced = ['--reuse-values', '--set', 'operator.logLevel=debug', '--wait'];
    await run.suffers(
      t,
      'helm upgrade',
      async () => void (await lab.helm(['upgrade', 'onebyte', chart, ...replaced])),
    );
    await run.suffers(
      t,
      'helm rollback',
      async () => void (await lab.helm(['rollback', 'onebyte', '1', '--wait'])),
    );
    await run.isWell(3);
    assert.deepEqual(await workers(), before);
    await run.isTrue(t);
  });

  test('the server of NATS is killed (kill -9): workers wait for it and go on', async (t) => {
    await run.suffers(t, 'kill -9 of nats-server', async () => {
      assert.equal(await killWith({ POD_NAME: 'nats-0', ...ofCluster(lab.cluster) }), 1);
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

  test('credentials are not the right ones: the worker says so, the others go on, and the right ones mend it', async (t) => {
    // Not the first: its pod is where the others look for what is well.
    const { name } = (await run.pods()).at(-1)!.metadata;
    const secret = `${name}-${run.uid.slice(0, 8)}`;
    const inTeam = (...args: string[]) => lab.kubectl('-n', TEAM, ...args);
    const set = (credentials: string) =>
      inTeam('patch', 'secret', secret, '--type=merge', '-p', JSON.stringify({ data: { credentials } }));
    const right = await inTeam('get', 'secret', secret, '-o', 'jsonpath={.data.credentials}');
    const wrong = new JwtOperator().credentials('stranger');
    const mounted = () => inTeam('exec', name, '--', 'cat', '/etc/onebyte/nats/credentials');
    await run.suffers(t, 'credentials of another account', async () => {
      await set(Buffer.from(wrong).toString('base64'));
      // The kubelet brings them to the pod in a while; the worker reads them as it starts.
      await lab.until('they are there', async () => (await mounted()).trim() === wrong.trim());
      assert.equal(await killWith(worker(name)), 1);
    });
    const scaled = async () => {
      const { conditions = [] } = (await run.job()).status ?? {};
      return conditions.find(({ type }) => type === 'Scaled');
    };
    await lab.until('the status says so', async () => /NATS_DENIED/.test((await scaled())?.message ?? ''));
    assert.equal((await scaled())?.reason, 'InputRefused');
    assert.equal((await run.columns()).WORKERS, '2/3');
    t.diagnostic(`Scaled: InputRefused: ${(await scaled())?.message}`);
    await set(right);
    await run.isWell(3);
    await run.isTrue(t);
  });

  test('after all that, deleting the job leaves nothing', async () => {
    const reasons = await eventReasons(lab, RUN);
    // All were gone for a while, and one was there only for a while.
    for (const reason of ['QuorumLost', 'WorkerRemoved'])
      assert.ok(reasons.includes(reason), `no event ${reason} among ${reasons.join(', ')}`);
    await lab.kubectl('-n', TEAM, 'delete', 'ftj', RUN, '--timeout=120s');
    await lab.until('no pods', async () => (await run.pods()).length === 0);
    // What the job owned goes with it, in the time of the cluster's collector.
    const kinds = 'secrets,services,poddisruptionbudgets,serviceaccounts';
    await lab.until('nothing of it', async () => {
      const left = await lab.kubectl('-n', TEAM, 'get', kinds, '-o', 'name');
      return !left.includes(`/${RUN}-`);
    });
  });
});
