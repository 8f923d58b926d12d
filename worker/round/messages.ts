import { OnebyteError } from '../errors.ts';
import { ByteReader, ByteWriter } from '../journal/bytes.ts';
import { MAX_PROBES } from '../journal/job-text.ts';
import { MAX_MEMBERS, SPLITS } from '../journal/ledger.ts';
import type { Evaluation, Join } from '../journal/record.ts';
import { areSigns, packSigns, readSigns } from '../journal/signs.ts';

export type Sums = Omit<Evaluation, 'slot'>;

/**
 * The first 8 bytes, in hex, of a chain value: names the state that a message speaks of. 64 bits tell apart what
 * honest members confuse; who may send what is the transport's to enforce.
 */
export type Tag = string;

export function tagOf(chain: Uint8Array): Tag {
  let tag = tags.get(chain);
  if (tag === undefined) {
    tag = Buffer.from(chain.buffer, chain.byteOffset, TAG_BYTES).toString('hex');
    tags.set(chain, tag);
  }
  return tag;
}

/** By chain value, which nobody changes; asked several times for each record. */
const tags = new WeakMap<Uint8Array, Tag>();

const TAG_BYTES = 8;

/** What one member measured in one round. */
export interface Proposal {
  readonly kind: 'proposal';
  readonly round: number;
  /** Of the round chain. */
  readonly tag: Tag;
  readonly slot: number;
  /** The sender's attempt: it takes the receiver for the proposer of this one. */
  readonly attempt: number;
  /** One byte per probe. */
  readonly bytes: Uint8Array;
  readonly lossSum: number;
  readonly lossCount: number;
  readonly evaluations: readonly Sums[];
}

/** Asks to be let in. `run` is the tag of the genesis record's chain. */
export interface JoinRequest {
  readonly kind: 'join';
  readonly run: Tag;
  readonly join: Join;
}

/** The sender contributes no more and wants to be out. */
export interface LeaveRequest {
  readonly kind: 'leave';
  readonly run: Tag;
}

/** The proposer to a member: its bytes came so many milliseconds after a fast member's full count would have. */
export interface LateNotice {
  readonly kind: 'late';
  readonly tag: Tag;
  readonly behind: number;
}

/** A member to somebody who asks to be let in when nobody is any more: the run is being brought to its end. */
export interface Presence {
  readonly kind: 'here';
  readonly tag: Tag;
}

export type Message = Proposal | JoinRequest | LeaveRequest | LateNotice | Presence;

/** First byte of a message; its upper half is the format's version. */
const KINDS = { proposal: 0x11, join: 0x12, leave: 0x13, late: 0x14, here: 0x15 } as const;
/** A proposal whose probes are signs, packed. */
const SIGNS = 0x16;
const MAX_BEHIND = 2 ** 31 - 1;

export function encodeMessage(message: Message): Uint8Array {
  const signs = message.kind === 'proposal' && areSigns([message.bytes]);
  const writer = new ByteWriter().byte(signs ? SIGNS : KINDS[message.kind]);
  switch (message.kind) {
    case 'proposal':
      writer.hex(message.tag, TAG_BYTES, 'tag').varint(message.round, 'round');
      writer.varint(message.slot, 'slot').varint(message.attempt, 'attempt');
      writer.varint(message.bytes.length, 'probes').raw(signs ? packSigns(message.bytes) : message.bytes);
      writer.varint(message.lossCount, 'losses');
      if (message.lossCount > 0) writer.float32(message.lossSum);
      for (const { split, count, correct, lossSum } of message.evaluations) {
        writer.byte(SPLITS.indexOf(split)).varint(count, 'count').varint(correct, 'correct');
        writer.float32(lossSum);
      }
      break;
    case 'join':
      writer.hex(message.run, TAG_BYTES, 'run').hex(message.join.id, 8, 'id');
      writer.text(message.join.name, 'name').text(message.join.group, 'group');
      writer.varint(message.join.examples, 'examples');
      break;
    case 'leave':
      writer.hex(message.run, TAG_BYTES, 'run');
      break;
    case 'here':
      writer.hex(message.tag, TAG_BYTES, 'tag');
      break;
    case 'late':
      writer.hex(message.tag, TAG_BYTES, 'tag');
      writer.varint(Math.round(Math.min(MAX_BEHIND, Math.max(0, message.behind))), 'behind');
  }
  return writer.finish();
}

/** The message, or null for bytes that are none of this version: the bus may carry anything. */
export function decodeMessage(bytes: Uint8Array): Message | null {
  try {
    const reader = new ByteReader(bytes);
    const message = read(reader.byte(), reader);
    reader.end();
    return message;
  } catch (error) {
    if (error instanceof OnebyteError) return null;
    throw error;
  }
}

function read(kind: number, reader: ByteReader): Message | null {
  switch (kind) {
    case KINDS.proposal:
    case SIGNS:
      return readProposal(reader, kind === SIGNS);
    case KINDS.join: {
      const run = reader.hex(TAG_BYTES);
      const id = reader.hex(8);
      const name = reader.text('name');
      const group = reader.text('group');
      return { kind: 'join', run, join: { id, name, group, examples: reader.varint('examples') } };
    }
    case KINDS.leave:
      return { kind: 'leave', run: reader.hex(TAG_BYTES) };
    case KINDS.here:
      return { kind: 'here', tag: reader.hex(TAG_BYTES) };
    case KINDS.late:
      return { kind: 'late', tag: reader.hex(TAG_BYTES), behind: reader.varint('behind', MAX_BEHIND) };
    default:
      throw new OnebyteError('RECORD_INVALID', `a message of kind ${kind}`);
  }
}

function readProposal(reader: ByteReader, signs: boolean): Proposal {
  const tag = reader.hex(TAG_BYTES);
  const round = reader.varint('round');
  const slot = reader.varint('slot', MAX_MEMBERS);
  const attempt = reader.varint('attempt', 2 ** 31 - 1);
  const count = reader.varint('probes', MAX_PROBES);
  const bytes = signs ? readSigns(reader, count) : reader.raw(count);
  if (bytes === null || areSigns([bytes]) !== signs)
    throw new OnebyteError('RECORD_INVALID', 'probes written in a way that is never used');
  const lossCount = reader.varint('losses', 2 ** 31 - 1);
  const lossSum = lossCount > 0 ? reader.float32() : 0;
  const evaluations: Sums[] = [];
  while (reader.left > 0) {
    const split = SPLITS[reader.byte()];
    if (split === undefined || evaluations.some((sums) => sums.split === split))
      throw new OnebyteError('RECORD_INVALID', 'an evaluation of no split, or of one twice');
    const count = reader.varint('count', 2 ** 31 - 1);
    const correct = reader.varint('correct', count);
    evaluations.push({ split, count, correct, lossSum: reader.float32() });
  }
  return { kind: 'proposal', round, tag, slot, attempt, bytes, lossSum, lossCount, evaluations };
}
