import { OnebyteError } from '../errors.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import { decodeGenesis, encodeGenesis } from './genesis.ts';
import type { Ledger } from './ledger.ts';
import type { ArtifactRecord, CheckpointRecord, DisputeRecord, EndRecord, JournalRecord } from './record.ts';
import { decodeRound, encodeRound, ROUND_BIT } from './round.ts';

/** Version of the record format that this program writes and reads. */
export const RECORD_FORMAT = 1;

/** First byte of a record; a round record's is ROUND_BIT and its flags. */
const KINDS = { genesis: 1, checkpoint: 2, artifact: 3, dispute: 4, end: 5 } as const;
const END_REASONS = ['rounds', 'forwards', 'target', 'cancelled'] as const;
const DISPUTE_REASONS = ['bytes', 'digest', 'tensor'] as const;

/**
 * A record's bytes. What `ledger` (the one before the record) implies is left out. Each record has exactly one
 * encoding, but for the compressor's choice inside a genesis; `decodeBody` accepts only that one.
 * @throws OnebyteError RECORD_INVALID for a record that cannot be written after this ledger.
 */
export function encodeBody(record: JournalRecord, ledger: Ledger): Uint8Array {
  if (record.kind === 'round') return encodeRound(record, ledger);
  const writer = new ByteWriter().byte(KINDS[record.kind]);
  switch (record.kind) {
    case 'genesis':
      encodeGenesis(writer, record);
      break;
    case 'checkpoint':
      writer.varint(record.round, 'round').hex(record.digest, 32, 'digest').text(record.location, 'location');
      break;
    case 'artifact':
      writer.text(record.artifact.name, 'name').hex(record.artifact.digest, 32, 'digest');
      writer.varint(record.artifact.bytes, 'bytes').text(record.location, 'location');
      break;
    case 'dispute':
      encodeDispute(writer, record);
      break;
    case 'end':
      writer.varint(record.round, 'round').hex(record.digest, 32, 'digest');
      writer.byte(indexIn(END_REASONS, record.reason, 'reason'));
  }
  return writer.finish();
}

/**
 * The record whose bytes these are, read after `ledger`.
 * @throws OnebyteError RECORD_UNKNOWN_KIND (never skipped: what it means for the state is not known here),
 *   RECORD_TRUNCATED where the bytes end too early, RECORD_INVALID for anything else.
 */
export function decodeBody(bytes: Uint8Array, ledger: Ledger): JournalRecord {
  const reader = new ByteReader(bytes);
  const kind = reader.byte();
  const record = decodeKind(kind, reader, ledger);
  reader.end();
  return record;
}

function decodeKind(kind: number, reader: ByteReader, ledger: Ledger): JournalRecord {
  if ((kind & ROUND_BIT) !== 0) return decodeRound(kind & ~ROUND_BIT, reader, ledger);
  switch (kind) {
    case KINDS.genesis:
      return decodeGenesis(reader);
    case KINDS.checkpoint:
      return decodeCheckpoint(reader);
    case KINDS.artifact:
      return decodeArtifact(reader);
    case KINDS.dispute:
      return decodeDispute(reader);
    case KINDS.end:
      return decodeEnd(reader);
    default:
      throw new OnebyteError(
        'RECORD_UNKNOWN_KIND',
        `a record of kind ${kind}, which format version ${RECORD_FORMAT} does not know`,
        { remedy: 'Read this run with the version of onebyte that wrote it, or a newer one.' },
      );
  }
}

function decodeCheckpoint(reader: ByteReader): CheckpointRecord {
  const round = reader.varint('round');
  return { kind: 'checkpoint', round, digest: reader.hex(32), location: reader.text('location') };
}

function decodeArtifact(reader: ByteReader): ArtifactRecord {
  const name = reader.text('name');
  const digest = reader.hex(32);
  const artifact = { name, digest, bytes: reader.varint('bytes') };
  return { kind: 'artifact', artifact, location: reader.text('location') };
}

function encodeDispute(writer: ByteWriter, record: DisputeRecord): void {
  writer.varint(record.round, 'round').varint(record.slot, 'slot');
  writer.hex(record.member, 8, 'member').hex(record.proposer, 8, 'proposer');
  writer.byte(indexIn(DISPUTE_REASONS, record.reason, 'reason'));
  if (record.reason === 'tensor') {
    writer.text(record.expected, 'expected');
    return;
  }
  const length = record.expected.length >> 1;
  writer.varint(length, 'expected').hex(record.expected, length, 'expected');
}

function decodeDispute(reader: ByteReader): DisputeRecord {
  const round = reader.varint('round');
  const slot = reader.varint('slot');
  const member = reader.hex(8);
  const proposer = reader.hex(8);
  const reason = itemOf(DISPUTE_REASONS, reader.byte(), 'reason');
  return {
    kind: 'dispute',
    round,
    slot,
    member,
    proposer,
    reason,
    expected: reason === 'tensor' ? reader.text('expected') : reader.hex(reader.count('expected', 1)),
  };
}

function decodeEnd(reader: ByteReader): EndRecord {
  const round = reader.varint('round');
  const digest = reader.hex(32);
  return { kind: 'end', round, digest, reason: itemOf(END_REASONS, reader.byte(), 'reason') };
}

function indexIn(items: readonly string[], item: string, what: string): number {
  const index = items.indexOf(item);
  if (index < 0)
    throw new OnebyteError('RECORD_INVALID', `${what} is '${item}', not one of ${items.join(', ')}`);
  return index;
}

function itemOf<T extends string>(items: readonly T[], index: number, what: string): T {
  const item = items[index];
  if (item === undefined) throw new OnebyteError('RECORD_INVALID', `not a record: ${what} ${index}`);
  return item;
}
