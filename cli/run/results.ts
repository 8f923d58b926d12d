import { stat } from 'node:fs/promises';
import { relative } from 'node:path';
import type { FineTuneJob } from '../../crds/job.ts';
import type { Prepared } from '../../worker/engine/prepare.ts';
import { trainedOf } from '../../worker/engine/trained.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { readJournal } from '../../worker/journal/file.ts';
import { summarise } from '../../worker/journal/index.ts';
import { exportSafetensors, writeFiles } from '../../worker/model/export.ts';
import { writeWhole } from '../../worker/whole-file.ts';
import { replay } from '../replay.ts';
import { renderReport } from '../report/report.ts';
import type { RunResult, WrittenFile } from '../view/events.ts';
import type { View } from '../view/live.ts';
import { planOf } from '../view/plan.ts';
import { resultOf } from '../view/result.ts';
import type { RunDirectory } from './directory.ts';
import type { Recorder } from './recorder.ts';

export interface FinishOptions {
  readonly job: FineTuneJob;
  /** The job file as it was given. */
  readonly text: string;
  readonly directory: RunDirectory;
  readonly recorder: Recorder;
  readonly prepared: Prepared;
  readonly wireBytes: number;
  readonly seconds: number;
  readonly view: View;
}

/** What `onebyte run --json` prints. */
export interface Finished {
  readonly name: string;
  readonly rounds: number;
  readonly workers: number;
  readonly forwards: number;
  readonly examples: number;
  readonly payloadBytes: number;
  readonly wireBytes: number;
  readonly journalBytes: number;
  readonly loss: { readonly before: number | null; readonly after: number | null };
  readonly metric: { readonly name: string; readonly before: number | null; readonly after: number | null };
  readonly digest: string;
  readonly journal: string;
  readonly seconds: number;
}

/**
 * Rebuilds the model from the journal, as anybody would, and writes it with the report and the result.
 * @throws OnebyteError JOURNAL_CORRUPT when the journal does not give the digests that the workers agreed on
 */
export async function finishRun(options: FinishOptions): Promise<Finished> {
  const { directory, recorder, prepared, view } = options;
  const { ledger } = recorder;
  view.observe({ type: 'phase', text: 'rebuilding the model from the journal' });
  const rebuilt = await replay(directory.journal, { model: prepared.modelDir });
  if (rebuilt.mismatch !== null) {
    const { round, expected, found } = rebuilt.mismatch;
    throw new OnebyteError(
      'JOURNAL_CORRUPT',
      `the journal gives the state ${found} at round ${round}, the workers had ${expected}`,
      { field: directory.journal, remedy: 'report this: two replicas must never differ' },
    );
  }
  const trained = trainedOf(rebuilt.replica, rebuilt.plan, rebuilt.basis, rebuilt.folder);
  await writeFiles(directory.model, await exportSafetensors(rebuilt.folder, trained));

  const file = async (path: string, what: string): Promise<WrittenFile> => ({
    path: relative('.', path) || path,
    what,
    bytes: (await stat(path)).size,
  });
  const files: WrittenFile[] = [
    { path: relative('.', directory.model), what: 'the model' },
    await file(directory.journal, 'from which anybody rebuilds it'),
    { path: relative('.', directory.report), what: 'curves, who took part, bytes' },
    await file(directory.metrics, 'one line per round'),
  ];
  const verify = `onebyte replay ${relative('.', directory.journal)}`;
  const { wireBytes, seconds } = options;
  const { journalBytes } = recorder;
  const result = resultOf(ledger, recorder.observed, { wireBytes, journalBytes, files, verify, seconds });
  await writeWhole(directory.report, report(options, result, verify));
  const finished = summary(result, directory);
  recorder.sync();
  // Last, and once all else is on the disk: a directory with a result is a finished run.
  await writeWhole(directory.result, `${JSON.stringify(finished, null, 2)}\n`, String(process.pid));
  view.finish(result);
  return finished;
}

function report(
  { job, text, recorder, prepared, directory }: FinishOptions,
  result: RunResult,
  verify: string,
): string {
  const { ledger } = recorder;
  const digests = summarise(readJournal(directory.journal)).digests.map(({ round, source, digest }) => ({
    what: `${source}, round ${round}`,
    digest,
  }));
  return renderReport({
    job: { name: job.metadata.name, model: ledger.job!.model.uri },
    jobText: text,
    plan: planOf(ledger.job!),
    weights: prepared.weights,
    trained: prepared.trained,
    startedAt: prepared.genesis.at,
    observed: recorder.observed,
    result,
    digests,
    verify,
  });
}

function summary(result: RunResult, { journal }: RunDirectory): Finished {
  const {
    name,
    rounds,
    workers,
    forwards,
    examples,
    payloadBytes,
    wireBytes,
    journalBytes,
    digest,
    seconds,
  } = result;
  // The test split where there is one, of all groups together.
  const score =
    result.scores.find(({ split, group }) => split === 'test' && group === undefined) ??
    result.scores.find(({ group }) => group === undefined);
  const known = (value: number | undefined) =>
    value === undefined || !Number.isFinite(value) ? null : value;
  const loss = { before: known(score?.loss.before), after: known(score?.loss.after) };
  const metric = {
    name: score?.metric?.name ?? 'accuracy',
    before: known(score?.metric?.before),
    after: known(score?.metric?.after),
  };
  return {
    name,
    rounds,
    workers,
    forwards,
    examples,
    payloadBytes,
    wireBytes,
    journalBytes,
    loss,
    metric,
    digest,
    journal,
    seconds,
  };
}
