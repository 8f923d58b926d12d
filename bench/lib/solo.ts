/** One member's run in this process, without bus or log: what training itself does, round by round. */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { roundOf } from '../../test/journal/fixture.ts';
import { Engine } from '../../worker/engine/engine.ts';
import { modelOf } from '../../worker/engine/job-model.ts';
import { prepare } from '../../worker/engine/prepare.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import type { JobSpec, SourceSpec } from '../../worker/journal/job.ts';
import { advance, currentStage, effective, emptyLedger, type Split } from '../../worker/journal/ledger.ts';
import type { JournalRecord } from '../../worker/journal/record.ts';

export interface SoloRound {
  readonly round: number;
  /** Mean training loss over the round's batch, before the round. */
  readonly loss: number;
  readonly exampleForwards: number;
  /** Processor seconds of all threads, for the round alone, evaluation and update included: others' load counts little. */
  readonly seconds: number;
}

const WHOLE = { index: 0, of: 1, cap: Number.POSITIVE_INFINITY };

/** Loss and accuracy over all rows of one split. */
export interface Measured {
  readonly loss: number;
  readonly accuracy: number;
  readonly count: number;
}

export interface SoloEnd {
  readonly before: Readonly<Partial<Record<Split, Measured>>>;
  readonly after: Readonly<Partial<Record<Split, Measured>>>;
}

/**
 * Runs all rounds of a job with the most probes in each.
 * @param folder where relative sources begin
 * @param measured splits that are measured before the first and after the last round
 */
export async function runSolo(
  job: JobSpec,
  data: Partial<Readonly<Record<Split, readonly SourceSpec[]>>>,
  folder: string,
  onRound: (round: SoloRound) => void,
  measured: readonly Split[] = ['train'],
): Promise<SoloEnd> {
  const artifacts = mkdtempSync(join(tmpdir(), 'onebyte-solo-'));
  const threads = availableParallelism();
  const jobText = canonicalJson({ name: 'solo', spec: job });
  const preparation = { jobText, folder, artifacts, threads, log: () => {} };
  try {
    const modelDir = await modelOf(jobText, preparation);
    const { genesis } = await prepare(modelDir, preparation, () => 0, null);
    const engine = await Engine.open({
      genesis: { ...genesis, uid: 'solo' },
      member: 'solo',
      modelDir,
      artifacts: [artifacts],
      data: { train: [], validation: [], test: [], ...data },
      folder,
      threads,
      memoryBudgetBytes: 2 ** 30,
    });
    let ledger = emptyLedger();
    const commit = (record: JournalRecord) => {
      const body = encodeBody(record, ledger);
      ledger = advance(ledger, record, body);
      engine.commit(record, body);
    };
    commit({ ...genesis, uid: 'solo' });
    commit(
      roundOf(ledger, {
        joins: [{ id: '0'.repeat(16), name: 'solo', group: '', examples: engine.facts.rows.train }],
      }),
    );
    const measure = async () => {
      const splits = ledger.round === 0 ? measured.filter((split) => split !== 'train') : measured;
      const sums = await engine.evaluate({ round: ledger.round, splits, shard: WHOLE });
      return Object.fromEntries(
        sums.map(({ split, lossSum, correct, count }) => [
          split,
          { loss: lossSum / count, accuracy: correct / count, count },
        ]),
      );
    };
    const first = await measure();
    while (ledger.complete === null) {
      const { estimator } = effective(job, currentStage(ledger).stage);
      const before = ledger.totals.exampleForwards;
      const started = process.cpuUsage();
      const request = {
        round: ledger.round,
        slot: 0,
        count: estimator.probes.max,
        roundChain: ledger.roundChain,
      };
      const { bytes, lossSum, lossCount } = await engine.probe(request);
      commit(roundOf(ledger, { bytes: [bytes] }));
      onRound({
        round: ledger.round - 1,
        loss: lossSum / lossCount,
        exampleForwards: ledger.totals.exampleForwards - before,
        seconds: secondsSince(started),
      });
    }
    const last = await measure();
    await engine.close();
    return { before: first, after: last };
  } finally {
    rmSync(artifacts, { recursive: true });
  }
}

function secondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}
