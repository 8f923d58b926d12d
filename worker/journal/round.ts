import { OnebyteError } from '../errors.ts';
import type { ByteReader } from './bytes.ts';
import { ByteWriter } from './bytes.ts';
import { currentStage, effective, type Ledger, MAX_MEMBERS, SPLITS } from './ledger.ts';
import type { Evaluation, Join, RoundRecord } from './record.ts';
import { areSigns, packedLength, packSigns, readSigns } from './signs.ts';

/** Set in the first byte of a round record; the other bits say what it carries. */
export const ROUND_BIT = 0x80;
const FULL = 1; // every member evaluated the most probes that the stage allows: no counts follow
const ATTEMPT = 2;
const JOINS = 4;
const LEAVES = 8;
const EVALUATIONS = 16;
const DIGEST = 32;
const SIGNS = 64; // all probes are signs, which are packed: five to a byte, over all members

/** Whether a round that begins so is plain: all members with the most probes, and no list, attempt or digest. */
export function beginsPlain(first: number | undefined): boolean {
  return first !== undefined && (first & ~SIGNS) === (ROUND_BIT | FULL);
}

/** Flags, loss, and at most five bytes of elapsed time. */
export const LARGEST_PLAIN_HEAD = 8;

export const MAX_ELAPSED = 2 ** 31 - 1;
const LARGEST_HALF = 65504;

/** A loss as a record can hold it: a 16-bit float, never -0 or an infinity; NaN where there is none. */
export function halfLoss(loss: number): number {
  if (Number.isNaN(loss)) return Number.NaN;
  return Math.f16round(Math.max(-LARGEST_HALF, Math.min(LARGEST_HALF, loss))) + 0;
}

/**
 * The record with its numbers as its encoding holds them; what `decodeBody(encodeBody(record))` gives. An evaluation
 * whose loss is not a number counts as infinitely bad: a run that diverged must still be able to say so.
 */
export function canonicalRound(record: RoundRecord): RoundRecord {
  return {
    ...record,
    loss: halfLoss(record.loss),
    elapsed: Math.max(0, Math.min(MAX_ELAPSED, Math.round(record.elapsed))),
    evaluations: record.evaluations.map((e) => ({ ...e, lossSum: singleLoss(e.lossSum) })),
  };
}

function singleLoss(sum: number): number {
  return Number.isNaN(sum) ? Number.POSITIVE_INFINITY : Math.fround(sum) + 0;
}

/**
 * Flags, loss (2 bytes), elapsed (varint), then what the flags name, then the members' probes one after the other. The
 * round's number and how many members there are follow from the ledger.
 */
export function encodeRound(raw: RoundRecord, ledger: Ledger): Uint8Array {
  const record = canonicalRound(raw);
  if (record.round !== ledger.round)
    throw invalid(`round ${record.round} where round ${ledger.round} is due`);
  if (record.bytes.length !== ledger.members.length)
    throw invalid(`bytes of ${record.bytes.length} members, where ${ledger.members.length} are in`);
  const max = maxProbes(ledger);
  const full = record.bytes.every((bytes) => bytes.length === max);
  const flags =
    (full ? FULL : 0) |
    (record.attempt > 0 ? ATTEMPT : 0) |
    (record.joins.length > 0 ? JOINS : 0) |
    (record.leaves.length > 0 ? LEAVES : 0) |
    (record.evaluations.length > 0 ? EVALUATIONS : 0) |
    (record.digest !== null ? DIGEST : 0) |
    (areSigns(record.bytes) ? SIGNS : 0);
  const writer = new ByteWriter().byte(ROUND_BIT | flags);
  writer.float16(record.loss).varint(record.elapsed, 'elapsed');
  if (flags & ATTEMPT) writer.varint(record.attempt, 'attempt');
  if (flags & JOINS) writeJoins(writer, record.joins);
  if (flags & LEAVES) {
    writer.varint(record.leaves.length, 'leaves');
    for (const slot of record.leaves) writer.varint(slot, 'slot');
  }
  if (flags & EVALUATIONS) writeEvaluations(writer, record.evaluations);
  if (record.digest !== null) writer.hex(record.digest, 32, 'digest');
  if (!full) for (const bytes of record.bytes) writer.varint(bytes.length, 'probes');
  const probes = Buffer.concat(record.bytes);
  return writer.raw(flags & SIGNS ? packSigns(probes) : probes).finish();
}

export function decodeRound(flags: number, reader: ByteReader, ledger: Ledger): RoundRecord {
  if (ledger.job === null) throw invalid('a round record before the genesis');
  const loss = readLoss(reader);
  const elapsed = reader.varint('elapsed', MAX_ELAPSED);
  const attempt = flags & ATTEMPT ? reader.varint('attempt') : 0;
  if (flags & ATTEMPT && attempt === 0) throw invalid('an attempt of 0 is not written');
  const joins = flags & JOINS ? readJoins(reader) : [];
  const leaves = flags & LEAVES ? filled(reader, 'leaves', 1, () => reader.varint('slot', MAX_MEMBERS)) : [];
  const evaluations = flags & EVALUATIONS ? readEvaluations(reader) : [];
  const digest = flags & DIGEST ? reader.hex(32) : null;
  const max = maxProbes(ledger);
  const counts = ledger.members.map(() => (flags & FULL ? max : reader.varint('probes', max)));
  if (!(flags & FULL) && counts.every((count) => count === max))
    throw invalid('counts that are all the maximum are not written');
  const bytes = readProbes(counts, (flags & SIGNS) !== 0, reader);
  return {
    kind: 'round',
    round: ledger.round,
    attempt,
    elapsed,
    loss,
    bytes,
    joins,
    leaves,
    evaluations,
    digest,
  };
}

function readProbes(counts: readonly number[], signs: boolean, reader: ByteReader): Uint8Array[] {
  const count = counts.reduce((sum, own) => sum + own, 0);
  const all = signs ? readSigns(reader, count) : reader.raw(count);
  if (all === null || areSigns([all]) !== signs)
    throw invalid('its probes are written in a way that is never used');
  let end = 0;
  return counts.map((own) => all.slice(end, (end += own)));
}

/** After completion no probes are due, so the largest count is 0. */
function maxProbes(ledger: Ledger): number {
  if (ledger.job === null) throw invalid('a round record before the genesis');
  if (ledger.complete !== null) return 0;
  return effective(ledger.job, currentStage(ledger).stage).estimator.probes.max;
}

/** How long a plain round is that begins with `head`; null where its elapsed time does not end in it. */
export function plainLength(head: Uint8Array, ledger: Ledger): number | null {
  const last = head.findIndex((byte, i) => i >= 3 && byte < 0x80);
  if (last < 0) return null;
  const probes = ledger.members.length * (ledger.job === null ? 0 : maxProbes(ledger));
  return last + 1 + (head[0]! & SIGNS ? packedLength(probes) : probes);
}

function readLoss(reader: ByteReader): number {
  const { value: loss, bits } = reader.float16();
  const canonical = Number.isNaN(loss) ? bits === 0x7e00 : Number.isFinite(loss) && bits !== 0x8000;
  if (!canonical) throw invalid('the loss is written in a way that is never used');
  return loss;
}

function writeJoins(writer: ByteWriter, joins: readonly Join[]): void {
  writer.varint(joins.length, 'joins');
  for (const join of joins) {
    writer.hex(join.id, 8, "a member's id").text(join.name, 'name').text(join.group, 'group');
    writer.varint(join.examples, 'examples');
  }
}

function readJoins(reader: ByteReader): Join[] {
  return filled(reader, 'joins', 11, () => ({
    id: reader.hex(8),
    name: reader.text('name'),
    group: reader.text('group'),
    examples: reader.varint('examples'),
  }));
}

function writeEvaluations(writer: ByteWriter, evaluations: readonly Evaluation[]): void {
  writer.varint(evaluations.length, 'evaluations');
  for (const e of evaluations) {
    // One number for both keeps the usual case (fewer than 42 members) at one byte.
    writer.varint(e.slot * SPLITS.length + SPLITS.indexOf(e.split), 'slot and split');
    writer.varint(e.count, 'count').varint(e.correct, 'correct').float32(e.lossSum);
  }
}

function readEvaluations(reader: ByteReader): Evaluation[] {
  return filled(reader, 'evaluations', 7, () => {
    const key = reader.varint('slot and split', MAX_MEMBERS * SPLITS.length);
    const split = SPLITS[key % SPLITS.length]!;
    const count = reader.varint('count');
    const correct = reader.varint('correct');
    const lossSum = reader.float32();
    if (Number.isNaN(lossSum) || Object.is(lossSum, -0)) throw invalid('an evaluation without a loss');
    return { split, slot: Math.floor(key / SPLITS.length), count, lossSum, correct };
  });
}

/** A list that is only written where it has items. */
function filled<T>(reader: ByteReader, what: string, itemBytes: number, read: () => T): T[] {
  const count = reader.count(what, itemBytes);
  if (count === 0) throw invalid(`an empty list of ${what} is not written`);
  return Array.from({ length: count }, read);
}

function invalid(what: string): OnebyteError {
  return new OnebyteError('RECORD_INVALID', `not a record: ${what}`);
}
