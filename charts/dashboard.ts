/** The dashboard for Grafana, as a table of rows and panels. `charts/generate.ts` writes it. */

interface Panel {
  readonly title: string;
  readonly about: string;
  /** Query and legend of each series. */
  readonly queries: readonly (readonly [expr: string, legend: string])[];
  readonly unit?: string;
  readonly type?: 'timeseries' | 'stat' | 'state-timeline';
  readonly width?: number;
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const JOB = 'namespace="$namespace", finetunejob="$job"';
const RATE = '$__rate_interval';

export const ROWS: readonly Row[] = [
  {
    title: 'The run $namespace/$job',
    panels: [
      {
        title: 'State',
        about: 'Why the condition Succeeded is as it is.',
        type: 'stat',
        width: 6,
        queries: [[`onebyte_job_info{${JOB}}`, '{{state}}']],
      },
      {
        title: 'Progress',
        about: 'Share of the run that is done.',
        type: 'stat',
        unit: 'percentunit',
        width: 6,
        queries: [[`onebyte_job_progress_ratio{${JOB}}`, 'done']],
      },
      {
        title: 'Time left',
        about: 'By the speed of the last rounds.',
        type: 'stat',
        unit: 's',
        width: 6,
        queries: [[`onebyte_job_remaining_seconds{${JOB}}`, 'left']],
      },
      {
        title: 'Payload',
        about: 'Bytes of training payload so far, one per probe.',
        type: 'stat',
        unit: 'bytes',
        width: 6,
        queries: [[`onebyte_job_payload_bytes{${JOB}}`, 'payload']],
      },
      {
        title: 'Loss',
        about: 'Training loss, averaged over the last rounds.',
        queries: [[`onebyte_job_loss{${JOB}}`, 'loss']],
      },
      {
        title: 'Evaluation',
        about: 'Last evaluation.',
        queries: [[`onebyte_job_evaluation{${JOB}}`, '{{metric}} ({{split}})']],
      },
      {
        title: 'Rounds a second',
        about: 'As the log counts them.',
        queries: [[`rate(onebyte_job_round{${JOB}}[${RATE}])`, 'rounds']],
      },
      {
        title: 'Workers',
        about: 'Desired, created, ready and joined.',
        queries: [[`sum by (state) (onebyte_job_workers{${JOB}})`, '{{state}}']],
      },
      {
        title: 'Bytes on the wire',
        about: 'What sockets carry, against the payload in it.',
        unit: 'Bps',
        queries: [
          [`sum by (direction) (rate(onebyte_socket_bytes_total{${JOB}}[${RATE}]))`, 'socket {{direction}}'],
          [
            `sum by (direction) (rate(onebyte_payload_bytes_total{${JOB}}[${RATE}]))`,
            'payload {{direction}}',
          ],
        ],
      },
      {
        title: 'Forward passes a second',
        about: 'Of one batch each, of all workers together.',
        queries: [[`rate(onebyte_job_forwards{${JOB}}[${RATE}])`, 'forward passes']],
      },
      {
        title: 'Participants',
        about: 'When each worker was a member.',
        type: 'state-timeline',
        width: 24,
        queries: [[`onebyte_joined{${JOB}}`, '{{pod}}']],
      },
    ],
  },
  {
    title: 'Its workers',
    panels: [
      {
        title: 'Where a round goes',
        about: 'Seconds of each part, summed over workers.',
        unit: 's',
        queries: [[`sum by (phase) (rate(onebyte_round_phase_seconds_sum{${JOB}}[${RATE}]))`, '{{phase}}']],
      },
      {
        title: 'Time of a round',
        about: 'Median and 95th percentile.',
        unit: 's',
        queries: [0.5, 0.95].map((q) => [
          `histogram_quantile(${q}, sum by (le) (rate(onebyte_round_seconds_bucket{${JOB}}[${RATE}])))`,
          `p${q * 100}`,
        ]),
      },
      {
        title: 'Probes',
        about: 'What became of them.',
        queries: [[`sum by (outcome) (rate(onebyte_probes_total{${JOB}}[${RATE}]))`, '{{outcome}}']],
      },
      {
        title: 'Memory',
        about: 'Resident memory of each worker.',
        unit: 'bytes',
        queries: [[`process_resident_memory_bytes{${JOB}}`, '{{pod}}']],
      },
      {
        title: 'Behind the log',
        about: 'Entries that a worker has to apply before it takes part.',
        queries: [[`clamp_min(onebyte_log_target{${JOB}} - onebyte_log_sequence{${JOB}}, 0)`, '{{pod}}']],
      },
      {
        title: 'Rewinds, divergences, disputes, reconnects',
        about: 'All of them are healed; many of them are a sign.',
        queries: [
          [`sum(increase(onebyte_rewinds_total{${JOB}}[${RATE}]))`, 'rewinds'],
          [`sum(increase(onebyte_divergences_total{${JOB}}[${RATE}]))`, 'divergences'],
          [`max(increase(onebyte_disputes_total{${JOB}}[${RATE}]))`, 'disputes'],
          [`sum(increase(onebyte_reconnects_total{${JOB}}[${RATE}]))`, 'reconnects'],
        ],
      },
    ],
  },
  {
    title: 'The operator',
    panels: [
      {
        title: 'Jobs',
        about: 'By state.',
        queries: [['count by (state) (onebyte_job_info)', '{{state}}']],
      },
      {
        title: 'Passes',
        about: 'By result.',
        queries: [
          [
            `sum by (result) (rate(controller_runtime_reconcile_total{controller="finetunejob"}[${RATE}]))`,
            '{{result}}',
          ],
        ],
      },
      {
        title: 'Time of a pass',
        about: 'Median and 99th percentile.',
        unit: 's',
        queries: [0.5, 0.99].map((q) => [
          `histogram_quantile(${q}, sum by (le) (rate(controller_runtime_reconcile_time_seconds_bucket{controller="finetunejob"}[${RATE}])))`,
          `p${q * 100}`,
        ]),
      },
      {
        title: 'Queue',
        about: 'Jobs that wait, and how long.',
        queries: [
          ['max(workqueue_depth{name="finetunejob"})', 'waiting'],
          [
            `histogram_quantile(0.99, sum by (le) (rate(workqueue_queue_duration_seconds_bucket{name="finetunejob"}[${RATE}])))`,
            'p99 wait (s)',
          ],
        ],
      },
      {
        title: 'Calls to the API server',
        about: 'By answer.',
        queries: [[`sum by (code) (rate(rest_client_requests_total[${RATE}]))`, '{{code}}']],
      },
      {
        title: 'Workers made and removed',
        about: 'And why they were removed.',
        queries: [
          [`sum(rate(onebyte_operator_workers_created_total[${RATE}]))`, 'made'],
          [`sum by (why) (rate(onebyte_operator_workers_removed_total[${RATE}]))`, 'removed: {{why}}'],
          [`sum by (reason) (rate(onebyte_operator_refusals_total[${RATE}]))`, 'refused: {{reason}}'],
        ],
      },
      {
        title: 'Reads of logs',
        about: 'By outcome.',
        queries: [[`sum by (outcome) (rate(onebyte_operator_log_reads_total[${RATE}]))`, '{{outcome}}']],
      },
      {
        title: 'Memory of operators',
        about: 'Resident, of each.',
        unit: 'bytes',
        queries: [
          [
            'process_resident_memory_bytes * on (instance) group_left () onebyte_operator_info',
            '{{instance}}',
          ],
        ],
      },
    ],
  },
];

const WIDTH = 24;
/** Grafana's own placeholder, for the source of data that the person at the screen chooses. */
const source = { type: 'prometheus', uid: ['$', '{datasource}'].join('') };

/** The dashboard as Grafana reads it. */
export function dashboard(): object {
  let id = 0;
  let y = 0;
  const panels: object[] = [];
  for (const row of ROWS) {
    panels.push({
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y: y++, w: WIDTH, h: 1 },
    });
    let x = 0;
    let tallest = 0;
    for (const panel of row.panels) {
      const { type = 'timeseries', width = 12 } = panel;
      const height = type === 'stat' ? 4 : 8;
      if (x + width > WIDTH) {
        y += tallest;
        x = tallest = 0;
      }
      panels.push(drawn(panel, ++id, { x, y, w: width, h: height }));
      x += width;
      tallest = Math.max(tallest, height);
    }
    y += tallest;
  }
  return {
    uid: 'onebyte',
    title: 'Onebyte',
    description: 'Runs, workers and the operator of Onebyte.',
    tags: ['onebyte'],
    schemaVersion: 39,
    timezone: 'browser',
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: { list: variables() },
    panels,
  };
}

function drawn(
  { title, about, type = 'timeseries', unit, queries }: Panel,
  id: number,
  gridPos: object,
): object {
  const targets = queries.map(([expr, legendFormat], i) => ({
    refId: String.fromCharCode(65 + i),
    datasource: source,
    expr,
    legendFormat,
  }));
  const defaults = { ...(unit !== undefined && { unit }) };
  // The state's name is its series' name.
  const options =
    type === 'stat'
      ? { textMode: title === 'State' ? 'name' : 'value', reduceOptions: { calcs: ['lastNotNull'] } }
      : {};
  return {
    id,
    type,
    title,
    description: about,
    datasource: source,
    gridPos,
    fieldConfig: { defaults, overrides: [] },
    options,
    targets,
  };
}

function variables(): object[] {
  const query = (name: string, text: string) => ({
    name,
    type: 'query',
    datasource: source,
    query: { query: text, refId: name },
    definition: text,
    refresh: 2,
    sort: 1,
  });
  return [
    { name: 'datasource', type: 'datasource', query: 'prometheus' },
    query('namespace', 'label_values(onebyte_job_info, namespace)'),
    query('job', 'label_values(onebyte_job_info{namespace="$namespace"}, finetunejob)'),
  ];
}
