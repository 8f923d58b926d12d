/**
 * What the operator takes and gives at size, on a real API server with real NATS and no kubelets:
 *
 *     node bench/operator.ts [--jobs 200] [--workers 8] [--samples 40]
 *
 * The program that runs is the built one (`npm run build` into a temporary folder), as its service account.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { inParallel } from '../operator/jobs/calls.ts';
import { fineTuneJobs, type Job } from '../operator/jobs/job.ts';
import { Client, loadConfig, type Pod, pods, realClock } from '../operator/kube/mod.ts';
import { type Cluster, startCluster } from '../test/cluster/cluster.ts';
import { NatsSystem } from '../test/nats/server.ts';
import { manifest } from '../test/operator/jobs/builder.ts';
import { applyCrd } from '../test/operator/jobs/harness.ts';
import { clientOf, seeded, until } from '../test/operator/kube/setup.ts';
import { BareLoop } from './lib/bare-loop.ts';
import { compiledCopy } from './lib/compiled.ts';
import { Operator } from './lib/operator.ts';

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '200' },
    workers: { type: 'string', default: '8' },
    samples: { type: 'string', default: '40' },
    /** Seconds at rest that are watched. */
    rest: { type: 'string', default: '60' },
    /** Jobs that the operator looks at at once; as the chart has it. */
    concurrency: { type: 'string', default: '8' },
  },
});
const [jobs, workers, samples, rest] = [values.jobs, values.workers, values.samples, values.rest].map(
  Number,
) as [number, number, number, number];
/** Calls at once: the same for the bare loop and for the operator. */
const CALLS = 16;
const CHILDREN = 4;
const random = seeded(3);
const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
const say = (what: string, value: string, bar = '') =>
  console.log(`${what.padEnd(52)}${value.padStart(16)}   ${bar}`);

/** When the pods of the cluster came, by name. */
async function follow(
  client: Client,
  signal: AbortSignal,
  came: (pod: Pod, at: number) => void,
): Promise<void> {
  const { resourceVersion } = await client.list(pods, { limit: 1 });
  const watch = client.watch(pods, { resourceVersion, timeoutSeconds: 3_600, signal });
  try {
    for await (const event of watch) if (event.type === 'ADDED') came(event.object as Pod, performance.now());
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Changes by the operator since a time, but for those to its lease: `create pods`, `patch finetunejobs/status`, ... */
async function writesSince(cluster: Cluster, from: string): Promise<string[]> {
  const lines = (await readFile(join(cluster.folder, 'audit.log'), 'utf8')).trimEnd().split('\n');
  return lines
    .map(
      (line) =>
        JSON.parse(line) as {
          verb: string;
          user: { username: string };
          objectRef?: { resource: string; subresource?: string };
          requestReceivedTimestamp: string;
        },
    )
    .filter(({ user }) => user.username.endsWith(':operator'))
    .filter(({ objectRef }) => objectRef?.resource !== 'leases')
    .filter(({ requestReceivedTimestamp }) => requestReceivedTimestamp >= from)
    .map(({ verb, objectRef: { resource, subresource } = { resource: '?' } }) =>
      [`${verb} ${resource}`, ...(subresource ? [subresource] : [])].join('/'),
    );
}

function counted(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

const built = await compiledCopy();
// No controller manager, so pods need no service account to exist, and nobody but the operator works.
const [cluster, nats] = await Promise.all([
  startCluster({ audit: true }),
  NatsSystem.start({ jetstream: { max_file_store: 2 ** 34 } }),
]);
const client = await clientOf(cluster, { inFlight: CALLS });
let operator: Operator | undefined;
try {
  await applyCrd(cluster);
  await cluster.kubectl(['create', 'serviceaccount', 'operator']);
  const binding = ['create', 'clusterrolebinding', 'operator', '--clusterrole=cluster-admin'];
  await cluster.kubectl([...binding, '--serviceaccount=default:operator']);
  const account = await cluster.serviceAccountFolder('default', 'operator');
  // As the operator's account: whom the server knows decides how it queues and checks a call.
  const { hostname, port } = new URL(cluster.url);
  const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  const config = await loadConfig({ clock: realClock, env, accountFolder: account });
  const identity = { clock: realClock, random: Math.random, fieldManager: 'bare' };
  const same = new Client({ config, ...identity, inFlight: CALLS });
  const options = { built, cluster, nats, account, calls: CALLS, concurrency: Number(values.concurrency) };
  console.log(`${jobs} jobs with ${workers} workers each, ${CALLS} calls at once\n`);

  const draft = (i: number) => manifest(`job-${i}`, { replicas: workers, max: workers + 8 }) as Job;
  const bare = new BareLoop({ client: same, callsAtOnce: CALLS, workers, natsUrl: nats.url() });
  const bareRates = async (when: string) => {
    const rates = {
      pods: await bare.pods(Math.min(2_000, jobs * workers)),
      all: await bare.jobs(Math.min(250, jobs)),
    };
    say(`bare loop ${when}: pods a second, all objects`, `${rates.pods.toFixed(0)}, ${rates.all.toFixed(0)}`);
    return rates;
  };
  const before = await bareRates('before');

  operator = new Operator(options);
  await operator.leads;
  await sleep(5_000);
  const idle = await operator.memory();
  say('resident memory, idle', `${idle.toFixed(0)} MiB`, 'bar: <= 120 MiB');
  await operator.stop();

  await inParallel(
    Array.from({ length: jobs }, (_, i) => i),
    CALLS,
    async (i) => void (await client.create(fineTuneJobs, draft(i))),
  );
  operator = new Operator(options);
  const all = async () => (await client.listAll(pods, { labelSelector: 'onebyte.dev/job' })).length;
  const began = new Date().toISOString();
  await operator.leads;
  let begin = operator.leadsAt;
  // Asks for one pod and for how many more there are: to follow them all would take from the server what is measured.
  const podCount = async () => {
    const { items, remaining } = await client.list(pods, { namespace: 'default', limit: 1 });
    return items.length + remaining;
  };
  while ((await podCount()) < jobs * workers) await sleep(50);
  const seconds = (performance.now() - begin) / 1_000;
  const made = jobs * (workers + CHILDREN);
  say('all pods there after', `${seconds.toFixed(1)} s`);
  say('objects a second, pods and the rest', (made / seconds).toFixed(0));
  // Before and after: whatever else runs on this machine falls on both.
  const after = await bareRates('after');
  const ratioTo = (kind: 'pods' | 'all') => (made / seconds / ((before[kind] + after[kind]) / 2)).toFixed(2);
  say('of what a bare loop makes of the same objects', ratioTo('all'), 'bar: >= 0.5');
  say('of what it makes of pods alone', ratioTo('pods'));
  const calls = await operator.metric('rest_client_request_duration_seconds_count');
  const callSeconds = await operator.metric('rest_client_request_duration_seconds_sum');
  say('calls on their way at a time', (callSeconds / seconds).toFixed(1), `${calls} of them`);
  say('processor seconds of the operator', (await operator.cpu()).toFixed(1));
  await sleep(5_000);
  console.log(`calls that change something: ${counted(await writesSince(cluster, began))}`);
  say('pods too many or too few', String((await all()) - jobs * workers), 'bar: 0');
  const arrived = new Map<string, number>();
  const ender = new AbortController();
  const following = follow(client, ender.signal, (pod, at) => arrived.set(pod.metadata.name, at));
  const passes = await operator.metric('controller_runtime_reconcile_time_seconds_count');
  const passSeconds = await operator.metric('controller_runtime_reconcile_time_seconds_sum');
  say('passes, and seconds in each', `${passes}, ${(passSeconds / passes).toFixed(3)}`);

  // At rest: what is written, and over how many connections.
  await sleep(15_000);
  const from = new Date().toISOString();
  await sleep(rest * 1_000);
  const written = (await writesSince(cluster, from)).length;
  say(`writes in ${rest} s at rest`, String(written), 'bar: 0 a minute');
  say(
    'connections at rest',
    String(await operator.connections(Number(new URL(cluster.url).port))),
    'bar: <= 4',
  );
  say('resident memory at that size', `${(await operator.memory()).toFixed(0)} MiB`, 'bar: <= 300 MiB');

  const scaled: number[] = [];
  for (let n = 0; n < samples; n++) {
    const name = `job-${Math.floor(random() * jobs)}`;
    const { spec } = await client.get(fineTuneJobs, { namespace: 'default', name });
    const pod = `${name}-${spec.replicas}`;
    arrived.delete(pod);
    const at = performance.now();
    await client.patch(
      fineTuneJobs,
      { namespace: 'default', name },
      { spec: { replicas: spec.replicas + 1 } },
      { subresource: 'scale' },
    );
    await until(pod, () => arrived.has(pod));
    scaled.push(arrived.get(pod)! - at);
  }
  scaled.sort((a, b) => a - b);
  say(
    'scale to pod, p50 and p95',
    `${quantile(scaled, 0.5).toFixed(0)}, ${quantile(scaled, 0.95).toFixed(0)} ms`,
    'bar: p95 <= 1000 ms',
  );

  const healed: number[] = [];
  for (let n = 0; n < samples; n++) {
    const job = `job-${Math.floor(random() * jobs)}`;
    const own = await client.listAll(pods, { namespace: 'default', labelSelector: `onebyte.dev/job=${job}` });
    const known = new Set(own.map(({ metadata }) => metadata.name));
    const pod = own[Math.floor(random() * own.length)]!;
    for (const name of known) arrived.delete(name);
    const at = performance.now();
    await client.delete(pods, pod.metadata);
    // The number of the one that leaves is free only once it has gone: its successor may have another.
    const next = () => [...arrived].find(([name]) => name.startsWith(`${job}-`));
    await until(`a successor of ${pod.metadata.name}`, () => next() !== undefined);
    healed.push(next()![1] - at);
  }
  healed.sort((a, b) => a - b);
  say(
    'pod deleted to another one, p50 and p95',
    `${quantile(healed, 0.5).toFixed(0)}, ${quantile(healed, 0.95).toFixed(0)} ms`,
    'bar: p95 <= 1000 ms',
  );

  await operator.stop();
  operator = new Operator(options);
  begin = performance.now();
  await operator.leads;
  say(
    'start to leading at that size, with a lease let go',
    `${((operator.leadsAt - begin) / 1_000).toFixed(1)} s`,
    'goal: <= 10 s',
  );
  await sleep(3_000);
  say('pods too many or too few', String((await all()) - jobs * workers - samples), 'bar: 0');
  ender.abort();
  same.close();
  await following;
} finally {
  await operator?.stop();
  client.close();
  await Promise.all([cluster.down(), nats.end()]);
  await rm(built, { recursive: true, force: true });
}
