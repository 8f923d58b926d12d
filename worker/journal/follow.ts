import { type ErrorCode, OnebyteError } from '../errors.ts';
import { decodeBody } from './codec.ts';
import { type Envelope, openEnvelope } from './envelope.ts';
import { advance, type Ledger } from './ledger.ts';
import { encodeProgress, progressOf } from './progress.ts';
import type { JournalRecord } from './record.ts';

export interface Followed {
  readonly ledger: Ledger;
  readonly record: JournalRecord;
  /** The record's encoding, as the journal file stores it. */
  readonly body: Uint8Array;
}

/** Nothing of the entry was applied; every replica ignores it for the same reason. */
export interface Ignored {
  readonly ignored: string;
}

/**
 * Applies one log entry. The outcome depends on the two arguments alone, so all replicas agree on which entries count:
 * one that does not continue the chain (a writer that was late, or doubled by a retry), whose record cannot follow, or
 * whose summary is wrong is ignored. The genesis says of which version a run is: after it, what is of another version or
 * kind is noise too, which anybody who may append could write. Newer programs write nothing else into a run of this one.
 * @throws OnebyteError RECORD_UNKNOWN_KIND, RECORD_VERSION before the genesis: the run is one of another version.
 */
export function follow(ledger: Ledger, entry: { readonly data: Uint8Array }): Followed | Ignored {
  try {
    const envelope = openEnvelope(entry.data);
    if (!equal(envelope.previous, ledger.chain)) return { ignored: 'it does not continue the chain' };
    return apply(ledger, envelope);
  } catch (error) {
    if (isNoise(error, ledger.genesis !== null)) return { ignored: error.message };
    throw error;
  }
}

const MALFORMED: readonly ErrorCode[] = ['RECORD_INVALID', 'RECORD_TRUNCATED'];
const FOREIGN: readonly ErrorCode[] = ['RECORD_UNKNOWN_KIND', 'RECORD_VERSION'];

/** Whether an entry that is refused like this counts for nothing. @param begun whether the run's genesis is known */
export function isNoise(error: unknown, begun: boolean): error is OnebyteError {
  if (!(error instanceof OnebyteError)) return false;
  return MALFORMED.includes(error.code) || (begun && FOREIGN.includes(error.code));
}

function apply(ledger: Ledger, { body, summaryBytes }: Envelope): Followed | Ignored {
  const record = decodeBody(body, ledger);
  const next = advance(ledger, record, body);
  if (!equal(summaryBytes, encodeProgress(progressOf(next)))) return { ignored: 'its summary is wrong' };
  return { ledger: next, record, body };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
