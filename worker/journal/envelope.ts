import { OnebyteError } from '../errors.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { decodeBody, encodeBody } from './codec.ts';
import { advance, chainAfter, type Ledger } from './ledger.ts';
import { encodeProgress, progressOf } from './progress.ts';
import type { JournalRecord } from './record.ts';

export { chainAfter };

/** First byte of every log entry of ours; anything else on the log is noise. */
const MARK = 0xb1;
/** Version of the envelope; its record has its own. */
export const ENVELOPE_FORMAT = 1;

/** What an entry of the log holds: mark, version, previous chain (32 bytes), summary with its length, body. */
export interface Envelope {
  /** The chain's value before this record. */
  readonly previous: Uint8Array;
  /** What `decodeProgress` reads: the ledger after this record, for readers that have only this entry. */
  readonly summaryBytes: Uint8Array;
  readonly body: Uint8Array;
}

/**
 * The log entry that appends `record` after `ledger`.
 * @throws OnebyteError RECORD_INVALID where the record cannot follow.
 */
export function sealRecord(ledger: Ledger, record: JournalRecord): Uint8Array {
  const body = encodeBody(record, ledger);
  const after = advance(ledger, decodeBody(body, ledger), body);
  const summary = encodeProgress(progressOf(after));
  const writer = new ByteWriter().byte(MARK).byte(ENVELOPE_FORMAT).raw(ledger.chain);
  return writer.varint(summary.length, 'summary').raw(summary).raw(body).finish();
}

/**
 * @throws OnebyteError RECORD_VERSION for an envelope of another version; RECORD_INVALID, RECORD_TRUNCATED for bytes
 *   that are no envelope.
 */
export function openEnvelope(bytes: Uint8Array): Envelope {
  const reader = new ByteReader(bytes);
  if (reader.byte() !== MARK) throw new OnebyteError('RECORD_INVALID', 'not an entry of a run');
  const version = reader.byte();
  if (version !== ENVELOPE_FORMAT)
    throw new OnebyteError(
      'RECORD_VERSION',
      `an entry of version ${version}; this program reads version ${ENVELOPE_FORMAT}`,
      { remedy: 'Use the version of onebyte that started this run, or a newer one, everywhere.' },
    );
  const previous = reader.raw(32);
  const summaryBytes = reader.raw(reader.count('summary', 1));
  return { previous, summaryBytes, body: reader.raw(reader.left) };
}
