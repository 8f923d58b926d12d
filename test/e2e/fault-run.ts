/** One long run that faults are done to, one after the other, as it trains. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { columns, condition, type JobView, jobView, workerPods } from './job-view.ts';
import { Lab } from './lab.ts';
import { replayed } from './replayed.ts';
import type { RunWatch } from './run-watch.ts';
import { dataObjects, FEW_ROWS, sentimentJob, stages, TEMPLATE } from './sentiment.ts';

/** Rounds between two digests in the log: what a fault's end is checked by. */
const CHECK_ROUNDS = 25;
/** Milliseconds after which nothing comes any more, on a machine however busy. */
const LONG = 600_000;
/** Rounds of the first stage: what the faults are done to is the second. */
const HEAD = 30;
/** More rounds than there is time for, and a basis of few rows: that it is there soon is another test's matter. */
export const PLAN = stages(1_000_000, { head: HEAD, rows: 64 });

/** Seconds that a worker's pod waits for a lost node: a manifest's own come before the operator's 30. */
const NODE_LOST = 10;

export const RUN = 'run';

interface Test {
  diagnostic(line: string): void;
}

/** Nodes with such a run; all that the faults are not about stays on the first. */
export async function startFaultRun(nodes: number): Promise<[Lab, FaultRun]> {
  const first = { 'kubernetes.io/hostname': 'node1' };
  const values = {
    operator: { pollSeconds: 1, nodeSelector: first },
    'nats-server': { podTemplate: { merge: { spec: { nodeSelector: first } } } },
  };
  const lab = await Lab.start({ nodes, values }, (line) => console.log(line));
  try {
    return [lab, await FaultRun.start(lab)];
  } catch (error) {
    await lab.down();
    throw error;
  }
}

export class FaultRun {
  readonly lab: Lab;
  readonly watch: RunWatch;
  readonly uid: string;
  /** When the last fault was done. */
  #instant = 0;

  private constructor(lab: Lab, watch: RunWatch, uid: string) {
    this.lab = lab;
    this.watch = watch;
    this.uid = uid;
  }

  static async start(lab: Lab, replicas = 3): Promise<FaultRun> {
    await lab.apply(dataObjects());
    const tolerations = ['not-ready', 'unreachable'].map((name) => ({
      key: `node.kubernetes.io/${name}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: NODE_LOST,
    }));
    const run = {
      template: { ...TEMPLATE, spec: { ...TEMPLATE?.spec, tolerations } },
      data: FEW_ROWS,
      method: PLAN,
      evaluation: { everyRounds: 0 },
      checkpoint: { everyRounds: CHECK_ROUNDS },
      replicas,
    };
    await lab.apply([sentimentJob({ name: RUN, spec: run })]);
    await lab.until('the job has a stream', async () => {
      return (await jobView(lab, RUN)).status?.stream !== undefined;
    });
    const { uid } = (await jobView(lab, RUN)).metadata;
    const made = new FaultRun(lab, await lab.watch(uid), uid);
    await made.isWell(replicas);
    await lab.until('the second stage', async () => made.watch.round > HEAD + 10);
    return made;
  }

  job(): Promise<JobView> {
    return jobView(this.lab, RUN);
  }

  pods(): ReturnType<typeof workerPods> {
    return workerPods(this.lab, RUN);
  }

  /**
   * Until so many workers of the job train, and the status says that all is well.
   * @param members of the run, with those whom other clusters sent
   */
  async isWell(workers: number, { members = workers, limitMs = LONG } = {}): Promise<void> {
    const text = `${workers}/${workers}`;
    await this.lab.until(
      `${text} workers, and a status that says so`,
      async () => {
        const job = await this.job().catch(() => null);
        return (
          job !== null &&
          job.status?.workers?.summary === text &&
          this.watch.ledger?.members.length === members &&
          condition(job, 'Succeeded') === 'Unknown Running' &&
          condition(job, 'Ready') === 'True EnoughWorkers' &&
          condition(job, 'Stalled') === 'False NotStalled'
        );
      },
      limitMs,
    );
  }

  /** Until training has gone on for some rounds. */
  async goesOn(rounds = 5, limitMs = LONG): Promise<void> {
    const target = this.watch.rounds.length + rounds;
    await this.lab.until('training goes on', async () => this.watch.rounds.length >= target, limitMs);
  }

  /**
   * Does something to the run as it trains, and waits until it trains on.
   * @returns milliseconds from the last record before to the first after
   */
  async suffers(t: Test, what: string, act: () => Promise<void>): Promise<number> {
    await this.goesOn();
    const instant = performance.now();
    this.#instant = instant;
    await act();
    await this.lab.until('a round', async () => this.watch.gap(instant) !== null, LONG);
    const gap = this.watch.gap(instant)!;
    t.diagnostic(`${what}: ${Math.round(gap)} ms from the last record before to the first after`);
    await this.goesOn();
    return gap;
  }

  /** All digests in the log, the last one newer than this call, are those that a replay outside of the cluster gives. */
  async isTrue(t: Test): Promise<void> {
    const from = this.watch.seen.length;
    const digests = () =>
      this.watch.seen.slice(from).filter(({ record }) => record?.kind === 'round' && record.digest !== null);
    await this.lab.until('a digest', async () => digests().length > 0, LONG);
    const path = join(this.lab.storage, 'faults.onebyte');
    this.watch.writeJournal(path);
    const { compared, rounds } = await replayed(path, this.lab);
    assert.ok(compared > 1);
    const pause = Math.round(this.watch.longestPause(this.#instant));
    t.diagnostic(
      `longest time between two records since the fault: ${pause} ms; replay: ${rounds} rounds, ${compared} of ${compared} digests met`,
    );
  }

  async columns(): Promise<Record<string, string>> {
    return columns(this.lab, RUN);
  }
}
