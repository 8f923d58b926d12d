import { trainedOf } from '../worker/engine/trained.ts';
import { exportSafetensors, writeFiles } from '../worker/model/export.ts';
import { journalAt } from './journal-file.ts';
import { EXIT } from './print.ts';
import { type Replayed, replay } from './replay.ts';

interface Options {
  readonly model?: string;
  readonly to?: number;
  readonly out?: string;
  readonly json?: boolean;
}

/** `onebyte replay`. @returns the exit code: 0 when every digest in the journal is met, 3 when one is not */
export async function replayCommand(
  path: string,
  options: Options,
  out: (line: string) => void,
): Promise<number> {
  const journal = journalAt(path);
  const log = (line: string) => void process.stderr.write(`${line}\n`);
  const replayed = await replay(journal, { ...options, log });
  const { mismatch } = replayed;
  if (options.out !== undefined && mismatch === null) {
    const trained = trainedOf(replayed.replica, replayed.plan, replayed.basis, replayed.folder);
    await writeFiles(options.out, await exportSafetensors(replayed.folder, trained));
  }
  for (const line of options.json ? [asJson(replayed)] : asText(journal, replayed, options)) out(line);
  return mismatch === null ? EXIT.done : EXIT.verification;
}

function asJson({ replica, outcome, records, compared, mismatch, digest, seconds }: Replayed): string {
  const { truncated } = outcome;
  const rounds = replica.ledger.totals.rounds;
  return JSON.stringify({
    rounds,
    records,
    digest,
    compared,
    mismatch,
    truncated,
    ended: outcome.ledger.end !== null,
    seconds,
  });
}

function asText(
  journal: string,
  { replica, outcome, compared, mismatch, digest, seconds }: Replayed,
  options: Options,
): string[] {
  const { name, totals } = replica.ledger;
  const lines = [
    `${journal}: job ${name}, ${totals.rounds} rounds, ${totals.probes} probes, in ${seconds.toFixed(2)} s`,
  ];
  if (outcome.truncated !== null)
    lines.push(
      `cut off: the last ${outcome.truncated.bytes} bytes are no whole record; everything before them was applied`,
    );
  if (outcome.ledger.end === null) lines.push('the run had not ended when this journal was written');
  if (mismatch !== null) {
    lines.push(
      `NOT VERIFIED: at round ${mismatch.round} the journal says ${mismatch.expected}`,
      `              and this replay gives          ${mismatch.found}`,
    );
    return lines;
  }
  lines.push(`digest ${digest}`, `verified: ${compared} of ${compared} digests met`);
  if (options.out !== undefined) lines.push(`model written to ${options.out}`);
  return lines;
}
