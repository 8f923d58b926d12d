/** The result of a run as its records tell it, with what only the runner knows added. Pure. */
import type { Ledger } from '../../worker/journal/index.ts';
import type { Observed, RunResult } from './events.ts';
import { scoresOf } from './scores.ts';

export interface RunFacts extends Pick<RunResult, 'wireBytes' | 'journalBytes' | 'files' | 'verify'> {
  /** Wall time of this run; default: the sum of the records' own times. */
  readonly seconds?: number;
  /** The digest of the state, where the journal has no end record yet. */
  readonly digest?: string;
}

/** `ledger`: after the last record. `observed`: `observeAll` of the same records. */
export function resultOf(ledger: Ledger, observed: readonly Observed[], facts: RunFacts): RunResult {
  // A worker that came back under its name is one worker.
  const names = new Set(
    observed.flatMap((seen) => (seen.type === 'join' ? [JSON.stringify([seen.name, seen.group])] : [])),
  );
  return {
    name: ledger.name,
    rounds: ledger.totals.rounds,
    reason: ledger.end?.reason ?? ledger.complete ?? 'cancelled',
    workers: names.size,
    forwards: ledger.totals.forwards,
    examples: ledger.totals.exampleForwards,
    probes: ledger.totals.probes,
    payloadBytes: ledger.totals.payloadBytes,
    wireBytes: facts.wireBytes,
    journalBytes: facts.journalBytes,
    seconds: facts.seconds ?? ledger.totals.elapsed / 1000,
    digest: ledger.end?.digest ?? facts.digest ?? '',
    scores: scoresOf(observed),
    files: facts.files,
    ...(facts.verify === undefined ? {} : { verify: facts.verify }),
  };
}
