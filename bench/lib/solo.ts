/** One member's run in this process, without bus or log: what training itself does, round by round. */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Engine } from '../../worker/engine/engine.ts';
import { modelOf, prepare } from '../../worker/engine/prepare.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import type { JobSpec, SourceSpec } from '../../worker/journal/job.ts';
import { advance, currentStage, effective, emptyLedger } from '../../worker/journal/ledger.ts';
import type { JournalRecord, RoundRecord } from '../../worker/journal/record.ts';

export interface SoloRound {
  readonly round: number;
  /** Mean training loss over the round's batch, before the round. */
  readonly loss: number;
  readonly exampleForwards: number;
  /** Processor seconds of all threads, for the round alone, evaluation and update included: others' load counts little. */
  readonly seconds: number;
}

const WHOLE = { index: 0, of: 1, cap: Number.POSITIVE_INFINITY };

/**
 * Runs all rounds of a job with the most probes in each.
 * @param folder where relative sources begin
 * @returns the training loss at the end, over all rows
 */
export async function runSolo(
  job: JobSpec,
  train: readonly SourceSpec[],
  folder: string,
  onRound: (round: SoloRound) => void,
): Promise<number> {
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
      data: { train, validation: [], test: [] },
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
    const round = (changes: Partial<RoundRecord>): RoundRecord => ({
      kind: 'round',
      round: ledger.round,
      attempt: 0,
      elapsed: 0,
      loss: Number.NaN,
      bytes: [],
      joins: [],
      leaves: [],
      evaluations: [],
      digest: null,
      ...changes,
    });
    commit({ ...genesis, uid: 'solo' });
    commit(
      round({ joins: [{ id: '0'.repeat(16), name: 'solo', group: '', examples: engine.facts.rows.train }] }),
    );
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
      commit(round({ bytes: [bytes] }));
      onRound({
        round: ledger.round - 1,
        loss: lossSum / lossCount,
        exampleForwards: ledger.totals.exampleForwards - before,
        seconds: secondsSince(started),
      });
    }
    const [sums] = await engine.evaluate({ round: ledger.round, splits: ['train'], shard: WHOLE });
    await engine.close();
    return sums!.lossSum / sums!.count;
  } finally {
    rmSync(artifacts, { recursive: true });
  }
}

function secondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}
