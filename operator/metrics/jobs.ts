import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Status } from '../../crds/job.ts';
import type { Job } from '../jobs/job.ts';
import { isOurs } from '../jobs/job.ts';
import { CONDITIONS, STATES } from '../jobs/names.ts';
import { type Definition, JOB_METRICS, type JobMetric, OPERATOR_METRICS } from './definitions.ts';

const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 5];
const WORKER_STATES = ['desired', 'created', 'ready', 'joined'] as const;

/** One value of one series. */
export interface Sample {
  readonly metric: JobMetric;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What the metrics say of a job: its status, in numbers. */
export function samplesOf({ metadata, spec, status = {} }: Job): Sample[] {
  const job = { namespace: metadata.namespace ?? '', finetunejob: metadata.name };
  const samples: Sample[] = [];
  const add = (metric: JobMetric, value: number | undefined, labels: Record<string, string> = {}) => {
    if (value !== undefined && !Number.isNaN(value))
      samples.push({ metric, labels: { ...job, ...labels }, value });
  };
  const { round, forwards, payloadBytes, loss, evaluation, progress } = status;
  add('onebyte_job_info', 1, { uid: metadata.uid ?? '', state: stateOf(status) });
  for (const { type, status: truth } of status.conditions ?? [])
    add('onebyte_job_condition', truth === 'True' ? 1 : truth === 'False' ? 0 : -1, { type });
  for (const group of status.groups ?? [])
    for (const state of WORKER_STATES) add('onebyte_job_workers', group[state], { group: group.name, state });
  add('onebyte_job_workers_min', spec.min);
  add('onebyte_job_round', round);
  add('onebyte_job_forwards', forwards);
  add('onebyte_job_payload_bytes', payloadBytes);
  add('onebyte_job_loss', loss === undefined ? undefined : Number(loss));
  if (evaluation?.value !== undefined)
    add('onebyte_job_evaluation', Number(evaluation.value), {
      metric: evaluation.metric ?? '',
      split: evaluation.split ?? '',
    });
  add('onebyte_job_progress_ratio', progress?.percent === undefined ? undefined : progress.percent / 100);
  add('onebyte_job_remaining_seconds', progress?.remainingSeconds);
  if (progress?.updatedAt !== undefined)
    add('onebyte_job_progress_timestamp_seconds', Date.parse(progress.updatedAt) / 1_000);
  return samples;
}

function stateOf({ conditions }: Status): string {
  return conditions?.find(({ type }) => type === CONDITIONS.succeeded)?.reason ?? STATES.pending;
}

/** The operator's own metrics. Those of jobs are made anew for each scrape, so none outlives its job. */
export class OperatorMetrics {
  readonly #counters = new Map<string, Counter>();
  readonly #readSeconds: Histogram;

  constructor(registry: Registry, jobs: () => Iterable<Job>, version: string) {
    const gauges = new Map<string, Gauge>();
    const collect = () => {
      for (const gauge of gauges.values()) gauge.reset();
      for (const job of jobs())
        for (const { metric, labels, value } of isOurs(job) ? samplesOf(job) : [])
          gauges.get(metric)!.set(labels, value);
    };
    for (const [name, { help, labels }] of Object.entries(JOB_METRICS)) {
      // The first gauge's collector fills all of them before a scrape reads any.
      const isFirst = gauges.size === 0;
      gauges.set(
        name,
        new Gauge({
          name,
          help,
          labelNames: [...labels],
          registers: [registry],
          ...(isFirst && { collect }),
        }),
      );
    }
    for (const [name, definition] of Object.entries(OPERATOR_METRICS) as [string, Definition][]) {
      const options = {
        name,
        help: definition.help,
        labelNames: [...definition.labels],
        registers: [registry],
      };
      if (definition.type !== 'counter') continue;
      const counter = new Counter(options);
      if (definition.labels.length === 0) counter.inc(0);
      this.#counters.set(name, counter);
    }
    const info = 'onebyte_operator_info';
    new Gauge({
      name: info,
      help: OPERATOR_METRICS[info].help,
      labelNames: [...OPERATOR_METRICS[info].labels],
      registers: [registry],
    }).set({ version, node: process.version }, 1);
    const read = 'onebyte_operator_log_read_seconds';
    this.#readSeconds = new Histogram({
      name: read,
      help: OPERATOR_METRICS[read].help,
      buckets: SECONDS,
      registers: [registry],
    });
  }

  readonly executor = {
    created: (count: number): void =>
      this.#counters.get('onebyte_operator_workers_created_total')!.inc(count),
    removed: (why: string): void =>
      this.#counters.get('onebyte_operator_workers_removed_total')!.inc({ why }),
    refused: (reason: string): void => this.#counters.get('onebyte_operator_refusals_total')!.inc({ reason }),
  };

  readonly poller = {
    asked: (outcome: string, seconds: number): void => {
      this.#counters.get('onebyte_operator_log_reads_total')!.inc({ outcome });
      this.#readSeconds.observe(seconds);
    },
  };
}
