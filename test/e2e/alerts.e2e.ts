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
import { Lab, labMissing, SYSTEM, TEAM } from './lab.ts';
import { processesWith } from './pods.ts';
import { FEW_ROWS, sentimentJob, stages } from './sentiment.ts';

const skip = (await labMissing()) || (await missing('prometheus'));

/** What the chart's ServiceMonitor and PodMonitor come to, as the Prometheus operator writes it. */
function scrapes(kubeconfig: string): object[] {
  const keep = (label: string, regex: string) => ({
    action: 'keep',
    source_labels: [`__meta_kubernetes_pod_${label}`],
    regex,
  });
  const take = (source: string, target_label: string) => ({
    source_labels: [`__meta_kubernetes_${source}`],
    target_label,
  });
  const discovery = { kubernetes_sd_configs: [{ role: 'pod', kubeconfig_file: kubeconfig }] };
  const where = [
    take('namespace', 'namespace'),
    take('pod_name', 'pod'),
    take('pod_container_name', 'container'),
  ];
  return [
    {
      job_name: 'onebyte-operator',
      honor_labels: true,
      ...discovery,
      relabel_configs: [
        keep('label_app_kubernetes_io_component', 'operator'),
        keep('container_port_name', 'metrics'),
        ...where,
      ],
    },
    {
      job_name: 'onebyte-workers',
      ...discovery,
      relabel_configs: [
        keep('label_app_kubernetes_io_managed_by', 'onebyte-operator'),
        keep('label_app_kubernetes_io_component', 'worker'),
        keep('container_port_name', 'metrics'),
        ...where,
        take('pod_label_onebyte_dev_job', 'finetunejob'),
        take('pod_label_onebyte_dev_group', 'group'),
      ],
    },
  ];
}

/** The chart's rules with seconds for minutes: nobody waits a quarter of an hour here. What they look at stays. */
function hastened(rules: string): string {
  return rules
    .replaceAll(/for: \d+m/g, 'for: 2s')
    .replaceAll(/\[\d+[mh]\]/g, '[15s]')
    .replaceAll('> 1800', '> 8');
}

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

  /** Holds a fault to its alert: it fires while the fault lasts, and clears once it is over. */
  async function held(t: { diagnostic(line: string): void }, alert: string, fault: Fault): Promise<void> {
    assert.equal(await firing(alert), false, `${alert} fires before`);
    let from = performance.now();
    await fault.begin();
    await lab.until(`${alert} fires`, () => firing(alert), 180_000);
    const fires = performance.now() - from;
    from = performance.now();
    await fault.end();
    await lab.until(`${alert} clears`, async () => !(await firing(alert)), 180_000);
    t.diagnostic(
      `${alert}: fires after ${(fires / 1000).toFixed(0)} s, clears ${((performance.now() - from) / 1000).toFixed(0)} s after the fault`,
    );
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

  const job = (name: string, spec: object) => lab.apply([sentimentJob({ name, spec })]);
  const remove = (name: string) => lab.kubectl('-n', TEAM, 'delete', 'ftj', name, '--timeout=90s');

  test('a job that fails', async (t) => {
    const spec = { data: FEW_ROWS, method: stages(100_000), activeDeadlineSeconds: 5 };
    await held(t, 'OnebyteJobFailed', {
      begin: async () => void (await job('late', spec)),
      end: async () => void (await remove('late')),
    });
  });

  test('a job that only a person can help', async (t) => {
    const template = { spec: { containers: [{ name: 'worker', image: 'onebyte.test/nowhere:1' }] } };
    await held(t, 'OnebyteJobStalled', {
      begin: async () => void (await job('stalled', { data: FEW_ROWS, method: stages(100), template })),
      end: async () => void (await remove('stalled')),
    });
  });

  test('a job without the workers that it needs', async (t) => {
    const nodes = lab.cluster.nodes.map(({ name }) => name);
    await held(t, 'OnebyteJobShortOfWorkers', {
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
    await held(t, 'OnebyteJobNoProgress', {
      begin: () => signal('SIGSTOP'),
      end: () => signal('SIGCONT'),
    });
    await run.isWell(2);
  });

  test('logs that the operator cannot read', async (t) => {
    const scale = (replicas: number) =>
      lab.kubectl('-n', SYSTEM, 'scale', 'statefulset/nats', `--replicas=${replicas}`);
    await held(t, 'OnebyteLogsUnreadable', {
      begin: async () => void (await scale(0)),
      end: async () => void (await scale(1)),
    });
    await run.isWell(2);
  });

  test('an operator that is refused its work', async (t) => {
    const binding = ['clusterrolebinding', 'onebyte-jobs'];
    const { metadata, ...rest } = await lab.get<{ metadata: { name: string } }>(...binding);
    await held(t, 'OnebyteReconcileErrors', {
      begin: async () => void (await lab.kubectl('delete', ...binding)),
      end: async () => void (await lab.apply([{ ...rest, metadata: { name: metadata.name } }])),
    });
    await run.isWell(2);
  });

  test('an operator that does not lead', async (t) => {
    const stop = new AbortController();
    let holding: Promise<void> = Promise.resolve();
    await held(t, 'OnebyteOperatorNoLeader', {
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
    await held(t, 'OnebyteOperatorDown', {
      begin: async () => void (await scale(0)),
      end: async () => void (await scale(1)),
    });
    await run.isWell(2);
    await run.isTrue(t);
  });
});

interface Fault {
  readonly begin: () => Promise<void>;
  readonly end: () => Promise<void>;
}
