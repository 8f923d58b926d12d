/** Every metric of a worker: names, labels and help texts. `docs/metrics.md` lists the same; a test holds them equal. */

export interface Definition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Label, and the values that it takes where those are known beforehand. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

/** Seconds, from what a round on cached features takes to what a large model takes. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Parts of a round as one worker sees it. */
export const PHASES = ['forward', 'direction', 'apply', 'wait', 'log', 'evaluate', 'digest'] as const;
export type Phase = (typeof PHASES)[number];

/** What becomes of a probe that this worker was to evaluate. */
export const PROBE_OUTCOMES = ['committed', 'abstained', 'missed', 'abandoned'] as const;
export type ProbeOutcome = (typeof PROBE_OUTCOMES)[number];

export const APPEND_OUTCOMES = ['appended', 'conflict', 'unavailable'] as const;
export const LAG_QUANTILES = ['0.5', '0.99', '1'] as const;

const DIRECTION = { direction: ['sent', 'received'] } as const;
const SPLIT = { split: ['train', 'validation', 'test'] } as const;

export const DEFINITIONS = {
  onebyte_worker_info: {
    type: 'gauge',
    help: 'Always 1; the labels say which worker of which job this is.',
    labels: { run: [], uid: [], worker: [], group: [] },
  },
  onebyte_build_info: {
    type: 'gauge',
    help: 'Always 1; the labels say which program this is and on what it runs.',
    labels: { version: [], node: [], platform: [] },
  },
  onebyte_joined: { type: 'gauge', help: 'Whether this worker is a member of the run: 1 or 0.' },
  onebyte_members: { type: 'gauge', help: 'Members of the run.' },
  onebyte_round: { type: 'gauge', help: 'The next round to commit, as far as this worker has followed.' },
  onebyte_rounds_planned: { type: 'gauge', help: 'Rounds of the whole run.' },
  onebyte_loss: { type: 'gauge', help: "Exponential average of the rounds' training losses." },
  onebyte_evaluation_loss: {
    type: 'gauge',
    help: 'Loss of the last evaluation, over all members.',
    labels: SPLIT,
  },
  onebyte_evaluation_accuracy: {
    type: 'gauge',
    help: 'Accuracy of the last evaluation, over all members.',
    labels: SPLIT,
  },
  onebyte_probes_total: {
    type: 'counter',
    help: 'Probes of this worker by what became of them: committed in a record; committed as an abstention; missed: evaluated and not in the record; abandoned: the record came first.',
    labels: { outcome: PROBE_OUTCOMES },
  },
  onebyte_probes_per_round: { type: 'gauge', help: 'Probes that this worker evaluates in a round now.' },
  onebyte_round_seconds: {
    type: 'histogram',
    help: 'Time from one round record to the next.',
    buckets: SECONDS,
  },
  onebyte_round_phase_seconds: {
    type: 'histogram',
    help: 'Parts of a round: forward: the forward passes of all probes; direction: moving the trained weights along their directions and back; apply: moving the state by a record; wait: from the own bytes to the record; log: an append by this worker; evaluate: a share of an evaluation; digest: of the state.',
    labels: { phase: PHASES },
    buckets: SECONDS,
  },
  onebyte_payload_bytes_total: {
    type: 'counter',
    help: 'Bytes of probes (five signs share one): sent to a proposer, received in records.',
    labels: DIRECTION,
  },
  onebyte_socket_bytes_total: {
    type: 'counter',
    help: 'Bytes on the socket to NATS, everything included; with TLS before encryption.',
    labels: DIRECTION,
  },
  onebyte_reconnects_total: { type: 'counter', help: 'Times that a lost connection to NATS was made again.' },
  onebyte_appends_total: {
    type: 'counter',
    help: 'Appends of this worker to the log; a conflict means that another member committed first.',
    labels: { outcome: APPEND_OUTCOMES },
  },
  onebyte_log_sequence: {
    type: 'gauge',
    help: "Sequence of the log's last entry that this worker has applied.",
  },
  onebyte_log_target: {
    type: 'gauge',
    help: 'Sequence that this worker has to apply before it takes part: catching up is done when onebyte_log_sequence is there.',
  },
  onebyte_join_seconds: {
    type: 'gauge',
    help: 'Time that the last start took, from the start of the program to the first record with this worker in it.',
  },
  onebyte_snapshot_bytes: {
    type: 'gauge',
    help: 'Size of the snapshot that this worker began from; 0: it began at the base model.',
  },
  onebyte_checkpoints_total: { type: 'counter', help: 'Snapshots that this worker stored for newcomers.' },
  onebyte_rewinds_total: {
    type: 'counter',
    help: 'Times that the log had lost records and this worker took them back.',
  },
  onebyte_divergences_total: {
    type: 'counter',
    help: "Times that this worker's state was not the one that the others agree on, and it was built anew.",
  },
  onebyte_disputes_total: { type: 'counter', help: 'Disputes in the log, of all members.' },
  onebyte_engine_queue: { type: 'gauge', help: 'Calls to the engine that are not answered yet.' },
  onebyte_engine_busy_seconds: {
    type: 'gauge',
    help: 'Age of the oldest call to the engine that is not answered yet; 0: idle. Liveness looks at this.',
  },
  onebyte_event_loop_lag_seconds: {
    type: 'gauge',
    help: 'How late the event loop ran since the last look at this metric.',
    labels: { quantile: LAG_QUANTILES },
  },
  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory of the process.' },
  process_cpu_seconds_total: { type: 'counter', help: 'Processor time of the process, all threads.' },
  process_start_time_seconds: {
    type: 'gauge',
    help: 'When the process started, in seconds since the epoch.',
  },
} as const satisfies Readonly<Record<string, Definition>>;

export type MetricName = keyof typeof DEFINITIONS;
