/** Prometheus finds operator and workers by itself, and alerts fire in the faults that they are for, and clear after. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chart } from '../operator/chart/helm.ts';
import { Prometheus } from '../operator/chart/prometheus.ts';
import { missing } from '../tools/tool.ts';
import { FaultRun, RUN } from './fault-run.ts';
import { Lab, labMissing } from './lab.ts';
import { hastened, scrapes } from './monitoring.ts';
import { SYSTEM, TEAM } from './namespaces.ts';
import { processesWith } from './pods.ts';
import { flipBit, stopThreads } from './process-faults.ts';
import { FEW_ROWS, sentimentJob, stages } from './sentiment.ts';

const skip = (await labMissing()) || (await missing('prometheus'));

/** Jobs that come at once: enough for the operator to have over a hundred left for some seconds. */
const MANY = 240;
const ENGINE_THREAD = /^WorkerThread$/;

describe('alerts on real nodes', { skip }, () => {
  let lab: Lab;
  let run: FaultRun;
  let prometheus: Prometheus;

  before(async () => {
    lab = await Lab.start({ nodes: 2 }, (line) => console.log(line));
    run = await FaultRun.start(lab, 2);
    const rules = join(lab.storage, 'rules.yaml');
    await writeFile(rules, hastened(await readFile(join(chart, 'files', 'rules.yaml'), 'utf8')));
    prometheus = await Prometheus.start([], rules, scrapes(lab.cluster.kubeconfig));
  });
  after(async () => {
    await prometheus?.end();
    await run?.watch.close();
    await lab?.down();
  });

  const firing = async (alert: string) => (await prometheus.firing()).includes(alert);
  const isUp = async (): Promise<number> =>
    (await prometheus.range('up == 1', 3)).filter(({ values }) => values.length > 0).length;

  /** Holds a fault to its alerts: they fire while it lasts, and clear once it is over. */
  async function held(t: Test, alerts: readonly string[], fault: Fault): Promise<void> {
    const seen = new Map<string, number>();
    // A fault before this one may have made them fire or about to, and a run that is well again is ahead of them.
    const isQuiet = async () => !(await prometheus.alerts()).names.some((name) => alerts.includes(name));
    await lab.until(`${alerts.join(' and ')} quiet before`, isQuiet, 60_000);
    let from = performance.now();
    await fault.begin();
    const allFired = async () => {
      for (const alert of await prometheus.firing())
        if (!seen.has(alert)) seen.set(alert, performance.now() - from);
      return alerts.every((alert) => seen.has(alert));
    };
    await lab.until(`${alerts.join(' and ')} fires`, allFired, 180_000);
    from = performance.now();
    await fault.end();
    for (const alert of alerts) {
      await lab.until(`${alert} clears`, async () => !(await firing(alert)), 180_000);
      const [fires, clears] = [seen.get(alert)!, performance.now() - from].map((ms) =>
        (ms / 1000).toFixed(0),
      );
      t.diagnostic(`${alert}: fires after ${fires} s, clears ${clears} s after the fault`);
    }
  }

  test('Prometheus finds the operator and every worker, and all is quiet', async () => {
    await lab.until('all are up', async () => (await isUp()) === 3);
    await lab.kubectl('-n', TEAM, 'scale', `ftj/${RUN}`, '--replicas=3');
    await lab.until('the new one is up', async () => (await isUp()) === 4);
    await lab.kubectl('-n', TEAM, 'scale', `ftj/${RUN}`, '--replicas=2');
    await run.isWell(2);
    const workers = await prometheus.range('onebyte_round', 3);
    assert.ok(workers.some(({ metric }) => metric.finetunejob === RUN && metric.namespace === TEAM));
    assert.deepEqual((await prometheus.alerts()).broken, []);
    await lab.until('no alert fires', async () => (await prometheus.firing()).length === 0);
  });

  /** One process of each worker. */
  const worker = (name: string) => ({ ONEBYTE_WORKER: name, ONEBYTE_JOB_UID: run.uid });

  /** A worker that is not the one who puts its digest into the next record that has one, with some rounds to go. */
  async function whoDoesNotSign(): Promise<string> {
    const seen = run.watch.rounds.length;
    const signed = () => run.watch.rounds.slice(seen).findLast(({ record }) => record.digest !== null);
    await lab.until('a digest', () => signed() !== undefined);
    const { record, ledger } = signed()!;
    const next = record.round + ledger.job!.checkpoint.everyRounds;
    return ledger.members[(next + 1) % ledger.members.length]!.name;
  }

  const job = (name: string, spec: object) => lab.apply([sentimentJob({ name, spec })]);
  const remove = (name: string) => lab.kubectl('-n', TEAM, 'delete', 'ftj', name, '--timeout=90s');

  test('a job that fails', async (t) => {
    const spec = { data: FEW_ROWS, method: stages(100_000), activeDeadlineSeconds: 5 };
    await held(t, ['OnebyteJobFailed'], {
      begin: async () => void (await job('late', spec)),
      end: async () => void (await remove('late')),
    });
  });

  test('a job that only a person can help', async (t) => {
    const template = { spec: { containers: [{ name: 'worker', image: 'onebyte.test/nowhere:1' }] } };
    await held(t, ['OnebyteJobStalled'], {
      begin: async () => void (await job('stalled', { data: FEW_ROWS, method: stages(100), template })),
      end: async () => void (await remove('stalled')),
    });
  });

  test('a job without the workers that it needs', async (t) => {
    const nodes = lab.cluster.nodes.map(({ name }) => name);
    await held(t, ['OnebyteJobShortOfWorkers'], {
      begin: async () => {
        await lab.kubectl('cordon', ...nodes);
        await lab.kubectl('-n', TEAM, 'delete', 'pods', '-l', `onebyte.dev/job=${RUN}`, '--wait=false');
      },
      end: async () => void (await lab.kubectl('uncordon', ...nodes)),
    });
    await run.isWell(2);
  });

  test('a job whose workers hang', async (t) => {
    const signal = async (name: NodeJS.Signals) => {
      for (const pid of await processesWith({ ONEBYTE_JOB_UID: run.uid })) process.kill(pid, name);
    };
    await held(t, ['OnebyteJobNoProgress'], {
      begin: () => signal('SIGSTOP'),
      end: () => signal('SIGCONT'),
    });
    await run.isWell(2);
  });

  test('a worker whose engine hangs', async (t) => {
    let release = async (): Promise<void> => {};
    await held(t, ['OnebyteEngineBusy'], {
      begin: async () => {
        const [pid] = await processesWith(worker((await run.pods())[0]!.metadata.name));
        release = await stopThreads(pid!, ENGINE_THREAD);
      },
      end: () => release(),
    });
    await run.isWell(2);
  });

  test('a worker in whose memory a bit turns over: it finds out, says so, and builds its state anew', async (t) => {
    await held(t, ['OnebyteWorkerDiverged', 'OnebyteDispute'], {
      begin: async () => {
        const name = await whoDoesNotSign();
        const [pid] = await processesWith(worker(name));
        const [before, after] = await flipBit(pid!);
        t.diagnostic(`${name}: a weight of ${before} became ${after}`);
      },
      end: async () => {},
    });
    await run.isWell(2);
    await run.isTrue(t);
  });

  test('logs that the operator cannot read', async (t) => {
    const scale = (replicas: number) =>
      lab.kubectl('-n', SYSTEM, 'scale', 'statefulset/nats', `--replicas=${replicas}`);
    await held(t, ['OnebyteLogsUnreadable'], {
      begin: async () => void (await scale(0)),
      end: async () => void (await scale(1)),
    });
    await run.isWell(2);
  });

  test('an operator that is refused its work', async (t) => {
    const binding = ['clusterrolebinding', 'onebyte-jobs'];
    const { metadata, ...rest } = await lab.get<{ metadata: { name: string } }>(...binding);
    await held(t, ['OnebyteReconcileErrors'], {
      begin: async () => void (await lab.kubectl('delete', ...binding)),
      end: async () => void (await lab.apply([{ ...rest, metadata: { name: metadata.name } }])),
    });
    await run.isWell(2);
  });

  test('an operator that meets what it was not made for', async (t) => {
    // Stored at a time when nothing said what a job has to look like.
    const name = 'finetunejobs.onebyte.dev';
    const crd = await lab.get<Crd>('crd', name);
    const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    const loose = {
      ...crd,
      spec: {
        ...crd.spec,
        versions: crd.spec.versions.map(({ selectableFields: _, ...version }) => ({
          ...version,
          schema: { openAPIV3Schema: anything },
        })),
      },
    };
    const put = ({ metadata: { resourceVersion: _, ...metadata }, ...rest }: Crd) =>
      lab.reach.kubectl(['replace', '-f', '-'], JSON.stringify({ ...rest, metadata }));
    const taken = () =>
      job('strange', { groups: 'hospital' }).then(
        () => true,
        () => false,
      );
    await held(t, ['OnebyteReconcilePanics'], {
      begin: async () => {
        await put(loose);
        await lab.until('the API server takes anything', taken);
      },
      end: async () => {
        await lab.kubectl('-n', TEAM, 'delete', 'ftj', 'strange', '--wait=false');
        await put(crd);
      },
    });
    await run.isWell(2);
  });

  test('an operator that does not lead', async (t) => {
    const stop = new AbortController();
    let holding: Promise<void> = Promise.resolve();
    await held(t, ['OnebyteOperatorNoLeader'], {
      begin: async () => {
        // Somebody else holds the lease, and renews it.
        const hold = async () => {
          while (!stop.signal.aborted) {
            const renewTime = new Date().toISOString().replace('Z', '000Z');
            const spec = { holderIdentity: 'somebody-else', renewTime, leaseDurationSeconds: 15 };
            const patch = JSON.stringify({ spec });
            await lab.kubectl(
              '-n',
              SYSTEM,
              'patch',
              'lease',
              'onebyte-operator',
              '--type=merge',
              '-p',
              patch,
            );
            await sleep(1_000);
          }
        };
        holding = hold();
      },
      end: async () => {
        stop.abort();
        await holding;
      },
    });
    await run.isWell(2);
  });

  test('no operator', async (t) => {
    const scale = (replicas: number) =>
      lab.kubectl('-n', SYSTEM, 'scale', 'deployment/onebyte', `--replicas=${replicas}`);
    await held(t, ['OnebyteOperatorDown'], {
      begin: async () => void (await scale(0)),
      end: async () => void (await scale(1)),
    });
    await run.isWell(2);
  });

  test('more jobs than the operator gets round to', async (t) => {
    const deployment = ['-n', SYSTEM, 'deployment/onebyte'];
    const many = Array.from({ length: MANY }, (_, i) =>
      sentimentJob({ name: `waiting-${i}`, spec: { suspend: true } }),
    );
    await held(t, ['OnebyteQueueDeep'], {
      begin: async () => {
        // They come while there is no operator, and the next one does one thing at a time.
        await lab.kubectl('scale', ...deployment, '--replicas=0');
        await lab.apply(many);
        await lab.kubectl('set', 'env', ...deployment, 'ONEBYTE_CONCURRENCY=1');
        await lab.kubectl('scale', ...deployment, '--replicas=1');
      },
      end: async () => {},
    });
    await run.isWell(2);
    await run.isTrue(t);
  });
});

interface Crd {
  readonly metadata: { readonly resourceVersion?: string };
  readonly spec: {
    readonly versions: readonly { readonly schema: object; readonly selectableFields?: readonly object[] }[];
  };
}

interface Test {
  diagnostic(line: string): void;
}

interface Fault {
  readonly begin: () => Promise<void>;
  readonly end: () => Promise<void>;
}
