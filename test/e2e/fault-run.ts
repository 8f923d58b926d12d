/** One long run that faults are done to, one after the other, as it trains. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { columns, condition, type JobView, jobView, workerPods } from './job-view.ts';
import type { Lab } from './lab.ts';
import { replayed } from './replayed.ts';
import type { RunWatch } from './run-watch.ts';
import { dataObjects, FEW_ROWS, sentimentJob, stages } from './sentiment.ts';

/** Rounds between two digests in the log: what a fault's end is checked by. */
const CHECK_ROUNDS = 25;
/** More than there is time for. */
const ROUNDS = 1_000_000;

export const RUN = 'run';

interface Test {
  diagnostic(line: string): void;
}

export class FaultRun {
  readonly lab: Lab;
  readonly watch: RunWatch;
  readonly uid: string;

  private constructor(lab: Lab, watch: RunWatch, uid: string) {
    this.lab = lab;
    this.watch = watch;
    this.uid = uid;
  }

  static async start(lab: Lab, spec: object = {}): Promise<FaultRun> {
    await lab.apply(dataObjects());
    const run = {
      data: FEW_ROWS,
      method: stages(ROUNDS),
      evaluation: { everyRounds: 0 },
      checkpoint: { everyRounds: CHECK_ROUNDS },
      replicas: 3,
      ...spec,
    };
    await lab.apply([sentimentJob({ name: RUN, spec: run })]);
    await lab.until('the job has a stream', async () => {
      return (await jobView(lab, RUN)).status?.stream !== undefined;
    });
    const { uid } = (await jobView(lab, RUN)).metadata;
    const made = new FaultRun(lab, await lab.watch(uid), uid);
    await made.isWell(3);
    await lab.until('the second stage', async () => made.watch.round > 110);
    return made;
  }

  job(): Promise<JobView> {
    return jobView(this.lab, RUN);
  }

  pods(): ReturnType<typeof workerPods> {
    return workerPods(this.lab, RUN);
  }

  /** Until so many workers train and the status says that all is well. */
  async isWell(workers: number, limitMs = 180_000): Promise<void> {
    const text = `${workers}/${workers}`;
    await this.lab.until(
      `${text} workers, and a status that says so`,
      async () => {
        const job = await this.job().catch(() => null);
        return (
          job !== null &&
          job.status?.workers?.summary === text &&
          this.watch.ledger?.members.length === workers &&
          condition(job, 'Succeeded') === 'Unknown Running' &&
          condition(job, 'Ready') === 'True EnoughWorkers' &&
          condition(job, 'Stalled') === 'False NotStalled'
        );
      },
      limitMs,
    );
  }

  /** Until training has gone on for some rounds. */
  async goesOn(rounds = 5, limitMs = 180_000): Promise<void> {
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
    await act();
    await this.lab.until('a round', async () => this.watch.gap(instant) !== null, 240_000);
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
    await this.lab.until('a digest', async () => digests().length > 0, 240_000);
    const path = join(this.lab.storage, 'faults.onebyte');
    this.watch.writeJournal(path);
    const { compared, rounds } = await replayed(path, this.lab);
    assert.ok(compared > 1);
    t.diagnostic(`replay: ${rounds} rounds, ${compared} of ${compared} digests met`);
  }

  async columns(): Promise<Record<string, string>> {
    return columns(this.lab, RUN);
  }
}
