/** The whole product on real nodes: install, apply, scale in the middle of training, export, and check by replay. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type JournalShape, journalBytes } from '../../bench/lib/sizing.ts';
import type { Pod } from '../../operator/kube/mod.ts';
import { currentStage, effective } from '../../worker/journal/ledger.ts';
import { columns, condition, eventReasons, jobView, operatorPods, workerPods } from './job-view.ts';
import { Lab, labMissing, mib } from './lab.ts';
import { SYSTEM, TEAM } from './namespaces.ts';
import { replayed, runStatus } from './replayed.ts';
import { RunWatch } from './run-watch.ts';
import { dataObjects, FEW_ROWS, sentimentJob, stages } from './sentiment.ts';
import { isReady, startToReady, timelineOf } from './timeline.ts';

const skip = await labMissing('any');
const NAME = 'sentiment';

const spec = {
  data: FEW_ROWS,
  method: stages(Number(process.env.ONEBYTE_E2E_ROUNDS ?? 1500)),
  evaluation: { everyRounds: 0 },
};

describe('the product on real nodes', { skip }, () => {
  let lab: Lab;
  let watch: RunWatch | undefined;

  before(async () => {
    lab = await Lab.start({ nodes: 2 }, (line) => console.log(line));
  });
  after(async () => {
    await watch?.close();
    await lab?.down();
  });

  test('a run is applied, scaled from two workers to five to three as it trains, and ends in the model that its journal gives', async (t) => {
    await lab.apply(dataObjects());
    const applied = performance.now();
    const appliedAt = Date.now();
    await lab.apply([sentimentJob({ name: NAME, spec })]);
    await lab.until('the job has a stream', async () => {
      return (await jobView(lab, NAME)).status?.stream !== undefined;
    });
    const { uid } = (await jobView(lab, NAME)).metadata;
    const run = await lab.watch(uid);
    watch = run;
    await lab.until('a round', async () => run.round > 0);
    t.diagnostic(`kubectl apply to the first round: ${seconds(run.rounds[0]!.at - applied)}`);

    await lab.until('both train', async () => (await columns(lab, NAME)).WORKERS === '2/2');
    const ready = async (pods: Promise<Pod[]>) => (await pods).filter((pod) => isReady(pod)).length;
    await lab.until('both are ready', async () => (await ready(workerPods(lab, NAME))) === 2);
    for (const pod of [...(await operatorPods(lab)), ...(await workerPods(lab, NAME))])
      t.diagnostic(startToReady(pod));
    for (const { metadata } of await workerPods(lab, NAME))
      t.diagnostic(await timelineOf(lab, metadata.name, 'the job was applied', appliedAt));
    const two = await jobView(lab, NAME);
    assert.equal(condition(two, 'Succeeded'), 'Unknown Running');
    assert.equal(condition(two, 'Ready'), 'True EnoughWorkers');
    await lab.until('the second stage', async () => run.round > 110);
    for (const pod of await workerPods(lab, NAME)) await isRestricted(lab, pod.metadata.name, t);

    const before = run.round;
    const first = (await workerPods(lab, NAME)).map(({ metadata }) => metadata.name);
    const up = performance.now();
    const upAt = Date.now();
    await lab.kubectl('-n', TEAM, 'scale', `ftj/${NAME}`, '--replicas=5');
    const contributed = () =>
      new Set(run.rounds.filter(({ at }) => at > up).flatMap((round) => RunWatch.contributors(round)));
    await lab.until('five contribute', async () => contributed().size === 5);
    const fifth = run.rounds.find(({ at }) => at > up && contributedBy(run, up, at) === 5)!;
    t.diagnostic(
      `kubectl scale 2 -> 5 to the fifth worker’s byte: ${seconds(fifth.at - up)}; the others did ${fifth.record.round - before} rounds meanwhile`,
    );
    await lab.until('the status says so', async () => (await columns(lab, NAME)).WORKERS === '5/5');
    assert.equal((await jobView(lab, NAME)).status?.replicas, 5);
    for (const pod of await workerPods(lab, NAME)) {
      const { name } = pod.metadata;
      if (first.includes(name)) continue;
      await lab.until(`${name} is ready`, async () => {
        return (await workerPods(lab, NAME)).some((now) => now.metadata.name === name && isReady(now));
      });
      t.diagnostic(await timelineOf(lab, name, 'five were wanted', upAt));
    }

    const down = performance.now();
    await lab.kubectl('-n', TEAM, 'scale', `ftj/${NAME}`, '--replicas=3');
    await lab.until('three are in', async () => run.ledger!.members.length === 3);
    t.diagnostic(`kubectl scale 5 -> 3 to three members: ${seconds(performance.now() - down)}`);
    await lab.until('the pods are gone', async () => (await workerPods(lab, NAME)).length === 3);
    await lab.until('the status says so', async () => (await columns(lab, NAME)).WORKERS === '3/3');

    t.diagnostic(await metricsOf(lab));
    const ledger = await run.ended();
    await lab.until('the job is done', async () => {
      return condition(await jobView(lab, NAME), 'Succeeded') === 'True Completed';
    });
    const { status } = await jobView(lab, NAME);
    assert.equal(status?.result?.digest, ledger.end!.digest);
    const seen = await eventReasons(lab, NAME);
    for (const reason of [
      'StreamCreated',
      'WorkerPodsCreated',
      'RunStarted',
      'QuorumReached',
      'JobCompleted',
    ])
      assert.ok(seen.includes(reason), `no event ${reason} among ${seen.join(', ')}`);

    // Outside of the cluster, from the log alone.
    const journal = join(lab.storage, 'journal.onebyte');
    run.writeJournal(journal);
    const { digest, rounds, seconds: took } = await replayed(journal, lab);
    assert.equal(digest, status?.result?.digest);
    const { entries, bytes } = await runStatus(lab, uid);
    assert.equal(entries, ledger.records);
    const formula = Math.round(journalBytes(shapeOf(run)));
    const { size } = statSync(journal);
    t.diagnostic(
      `log ${bytes} bytes, journal ${size} (formula ${formula}: ${(size / formula).toFixed(2)}), payload ${ledger.totals.payloadBytes}, in ${ledger.records} records`,
    );
    t.diagnostic(`${rounds} rounds replayed in ${took.toFixed(1)} s to the digest in the status, ${digest}`);

    const exported = lab.volume(join('output', NAME));
    assert.ok(existsSync(join(exported, 'journal.onebyte')), 'the journal was exported');
    assert.equal((await replayed(join(exported, 'journal.onebyte'), lab)).digest, digest);
  });
});

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

function contributedBy(run: RunWatch, from: number, to: number): number {
  const rounds = run.rounds.filter(({ at }) => at > from && at <= to);
  return new Set(rounds.flatMap((round) => RunWatch.contributors(round))).size;
}

/** What the formula for the size of a journal wants to know of a run. */
function shapeOf(run: RunWatch): JournalShape {
  const shape = { rounds: 0, workers: 0, payload: 0, uneven: 0, digests: 0, evaluations: 0 };
  for (const [i, { record, members }] of run.seen.entries()) {
    if (record?.kind !== 'round') continue;
    const before = run.seen[i - 1]!.ledger;
    const most =
      before.complete === null ? effective(before.job!, currentStage(before).stage).estimator.probes.max : 0;
    shape.rounds++;
    shape.workers += members.length;
    shape.uneven += record.bytes.some(({ length }) => length !== most) ? 1 : 0;
    shape.digests += record.digest === null ? 0 : 1;
    shape.evaluations += record.evaluations.length / Math.max(1, members.length);
  }
  return { ...shape, workers: shape.workers / shape.rounds, payload: run.ledger!.totals.payloadBytes };
}

interface Test {
  diagnostic(line: string): void;
}

/** What the kernel says of a worker's process. */
async function isRestricted(lab: Lab, pod: string, t: Test): Promise<void> {
  const status = await lab.kubectl('-n', TEAM, 'exec', pod, '--', 'cat', '/proc/1/status');
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1];
  assert.equal(field('Uid'), '65532');
  assert.equal(field('CapEff'), '0000000000000000');
  assert.equal(field('NoNewPrivs'), '1');
  assert.equal(field('Seccomp'), '2');
  await assert.rejects(lab.kubectl('-n', TEAM, 'exec', pod, '--', 'touch', '/opt/onebyte/x'), /Read-only/);
  t.diagnostic(`${pod}: resident memory ${mib(Number(field('VmRSS')) * 1024)}`);
}

/** Scrapes the operator and every worker; says how much each gave. */
async function metricsOf(lab: Lab): Promise<string> {
  const parts: string[] = [];
  const operators = await operatorPods(lab);
  const scrape = async (namespace: string, pod: string, port: number) =>
    lab.kubectl('get', '--raw', `/api/v1/namespaces/${namespace}/pods/${pod}:${port}/proxy/metrics`);
  for (const { metadata } of operators) {
    const text = await scrape(SYSTEM, metadata.name, 8080);
    assert.match(
      text,
      /onebyte_job_workers\{namespace="team",finetunejob="sentiment",group="",state="joined"\} 3/,
    );
    const rss = /^process_resident_memory_bytes (\S+)/m.exec(text)![1];
    parts.push(`${metadata.name}: resident memory ${mib(Number(rss))}`);
  }
  for (const { metadata } of await workerPods(lab, NAME)) {
    const text = await scrape(TEAM, metadata.name, 9090);
    assert.match(text, /^onebyte_worker_info\{run="sentiment"/m);
  }
  return parts.join('; ');
}
