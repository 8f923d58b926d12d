import { availableParallelism } from 'node:os';
import { dirname, resolve } from 'node:path';
import type { FineTuneJob } from '../crds/job.ts';
import { sourcesFor } from '../crds/job-spec.ts';
import { createEvaluator, scratchBytes } from '../worker/engine/evaluators/create.ts';
import { loadExamples } from '../worker/engine/load-examples.ts';
import { OnebyteError } from '../worker/errors.ts';
import { parseJob } from '../worker/journal/job-text.ts';
import type { Split } from '../worker/journal/ledger.ts';
import { NO_EXAMPLES } from '../worker/task/examples.ts';
import { type Metrics, metricsOf } from '../worker/task/metrics.ts';
import { sound } from './export.ts';
import { readJobFile } from './job-file.ts';
import { journalAt } from './journal-file.ts';

export interface EvaluateOptions {
  readonly split: Split;
  readonly set: readonly string[];
  /** Rounds to apply; by default all. 0: the base model. */
  readonly to?: number;
  readonly model?: string;
  readonly json?: boolean;
}

/** For activations of the frozen part, which are used once here. */
const MEMORY = 2 ** 26;

/**
 * `onebyte evaluate`: rebuilds the model of a run from its journal and measures it on the rows that a job file names, of
 * all groups. The file's task is not asked: the journal's holds.
 * @throws OnebyteError DATA_MISSING where the job has no such rows; what a replay and the reading of rows throw
 */
export async function evaluateRun(run: string, file: string, options: EvaluateOptions): Promise<string[]> {
  const sources = splitOf((await readJobFile(file, options.set)).job, options.split);
  if (sources.length === 0)
    throw new OnebyteError('DATA_MISSING', `${file} has no data.${options.split}`, {
      field: `data.${options.split}`,
      remedy: 'name another split with --split, or give the job such rows',
    });
  const threads = availableParallelism();
  const replayed = await sound(journalAt(run), {
    ...options,
    state: (plan) => ({ scratchBytes: scratchBytes(plan), threads }),
  });
  const { replica, plan, state, folder, basis, genesis } = replayed;
  const { job } = parseJob(genesis.job);
  const examples = await loadExamples(job.task, folder, sources, { folder: resolve(dirname(file)) });
  const evaluator = await createEvaluator({
    ...{ job, folder, state, plan, basis, threads, memoryBudgetBytes: MEMORY },
    examples: { train: NO_EXAMPLES, validation: NO_EXAMPLES, test: examples },
  });
  try {
    const { stage, epoch } = replica.position;
    await evaluator.enter(stage, epoch);
    const rows = Int32Array.from({ length: examples.ids.length }, (_, row) => row);
    const metrics = metricsOf(job.task, examples, await evaluator.outcomes('test', rows))!;
    const { rounds } = replica.ledger.totals;
    if (options.json)
      return [JSON.stringify({ name: replica.ledger.name, split: options.split, rounds, ...metrics })];
    return linesOf(`${replica.ledger.name} after ${rounds} rounds, ${options.split}`, metrics);
  } finally {
    await evaluator.close();
    await state.close();
  }
}

/** A split's sources: the job's, and those of its groups that have their own. */
function splitOf({ spec }: FineTuneJob, split: Split) {
  const groups = [
    '',
    ...(spec.groups ?? []).filter(({ data }) => data !== undefined).map(({ name }) => name),
  ];
  return groups.flatMap((group) => (group === '' && !spec.data ? [] : sourcesFor(spec, group)[split]));
}

function linesOf(head: string, metrics: Metrics): string[] {
  const { rows, loss, accuracy, perplexity, f1, exactMatch } = metrics;
  const items: (readonly [string, number | null | undefined])[] = [
    ['loss', loss],
    ['perplexity', perplexity],
    ['accuracy', accuracy],
    ['F1', f1],
    ['exact match', exactMatch],
  ];
  const known = items.filter(([, value]) => value !== undefined);
  return [
    `${head}: ${rows} rows`,
    ...known.map(([name, value]) => `  ${name.padEnd(12)}  ${value == null ? '-' : value.toFixed(4)}`),
  ];
}
