/** Every metric of the operator beside those of the runtime in `kube/metrics.ts`: names, labels and help texts. */

export interface Definition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
}

/** Not `job`: Prometheus calls what it scrapes so. */
const JOB = ['namespace', 'finetunejob'] as const;

/** One set of series for each job there is; they go with the job. */
export const JOB_METRICS = {
  onebyte_job_info: {
    type: 'gauge',
    help: 'Always 1; the labels say where the job is and what came of it.',
    labels: [...JOB, 'uid', 'state'],
  },
  onebyte_job_condition: {
    type: 'gauge',
    help: 'A condition of the job: 1 true, 0 false, -1 unknown.',
    labels: [...JOB, 'type'],
  },
  onebyte_job_workers: {
    type: 'gauge',
    help: 'Workers of the job: desired, created, ready, joined.',
    labels: [...JOB, 'group', 'state'],
  },
  onebyte_job_workers_min: {
    type: 'gauge',
    help: 'Fewest workers with which training goes on.',
    labels: JOB,
  },
  onebyte_job_round: { type: 'gauge', help: 'Rounds applied.', labels: JOB },
  onebyte_job_forwards: {
    type: 'gauge',
    help: 'Forward passes of one batch each, of all workers.',
    labels: JOB,
  },
  onebyte_job_payload_bytes: {
    type: 'gauge',
    help: 'Bytes of training payload, one per probe.',
    labels: JOB,
  },
  onebyte_job_loss: { type: 'gauge', help: 'Training loss, averaged over the last rounds.', labels: JOB },
  onebyte_job_evaluation: {
    type: 'gauge',
    help: 'Value of the last evaluation.',
    labels: [...JOB, 'metric', 'split'],
  },
  onebyte_job_progress_ratio: { type: 'gauge', help: 'Share of the run that is done, 0 to 1.', labels: JOB },
  onebyte_job_remaining_seconds: { type: 'gauge', help: 'Estimate of the time left.', labels: JOB },
  onebyte_job_progress_timestamp_seconds: {
    type: 'gauge',
    help: "When the job's numbers changed last, in seconds since the epoch.",
    labels: JOB,
  },
} as const satisfies Record<string, Definition>;

/** What the operator does, over all jobs. */
export const OPERATOR_METRICS = {
  onebyte_operator_info: {
    type: 'gauge',
    help: 'Always 1; the labels say which program this is.',
    labels: ['version', 'node'],
  },
  onebyte_operator_workers_created_total: { type: 'counter', help: 'Worker pods made.', labels: [] },
  onebyte_operator_workers_removed_total: {
    type: 'counter',
    help: 'Worker pods removed, by why.',
    labels: ['why'],
  },
  onebyte_operator_refusals_total: {
    type: 'counter',
    help: 'Calls that were refused and hold a job up, by reason.',
    labels: ['reason'],
  },
  onebyte_operator_log_reads_total: {
    type: 'counter',
    help: "Questions for a log's last record, by outcome.",
    labels: ['outcome'],
  },
  onebyte_operator_log_read_seconds: {
    type: 'histogram',
    help: 'How long these questions took.',
    labels: [],
  },
} as const satisfies Record<string, Definition>;

export type JobMetric = keyof typeof JOB_METRICS;
export type OperatorMetric = keyof typeof OPERATOR_METRICS;
