import type { Ledger } from '../journal/ledger.ts';
import type { JournalRecord } from '../journal/record.ts';
import type { Log } from '../log/log.ts';
import { type Clock, systemClock } from './clock.ts';
import { Follower } from './follower.ts';

export interface Observed {
  readonly seq: number;
  /** Null after the log lost its tail: the ledger is back at an earlier record. */
  readonly record: JournalRecord | null;
  readonly body: Uint8Array | null;
  /** After the record. */
  readonly ledger: Ledger;
}

/** Follows a run by its log alone, from the first record; ends after the end record, or when `signal` aborts. */
export async function* observe(
  log: Log,
  signal: AbortSignal,
  clock: Clock = systemClock,
): AsyncGenerator<Observed, void, undefined> {
  for await (const step of new Follower(log, clock).steps(signal)) {
    if (step.type === 'ignored' || step.type === 'lost') continue;
    const { seq, ledger } = step;
    if (step.type === 'rewound') yield { seq, record: null, body: null, ledger };
    else yield { seq, record: step.record, body: step.body, ledger };
    if (ledger.end !== null) return;
  }
}
