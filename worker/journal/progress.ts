import { OnebyteError } from '../errors.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import {
  type CombinedEvaluation,
  type Ledger,
  SPLITS,
  type Split,
  type Totals,
  totalRounds,
} from './ledger.ts';
import type { EndRecord } from './record.ts';

/** What a ledger says in some tens of bytes: goes with every record on the log, so that the last one is enough for a status. */
export interface Progress {
  readonly records: number;
  /** The next round, and how many there are in all. */
  readonly round: number;
  readonly rounds: number;
  readonly members: number;
  readonly totals: Totals;
  /** Exponential average, as a 32-bit float; NaN where none was measured. */
  readonly loss: number;
  readonly evaluations: { readonly [split in Split]: SplitProgress | null };
  readonly complete: Ledger['complete'];
  readonly finished: boolean;
  readonly end: EndRecord['reason'] | null;
}

/** Losses and accuracies as 32-bit floats. */
export interface SplitProgress {
  readonly first: CombinedEvaluation;
  readonly last: CombinedEvaluation;
}

const COMPLETE = [null, 'rounds', 'forwards', 'target'] as const;
const ENDS = [null, 'rounds', 'forwards', 'target', 'cancelled'] as const;
const TOTALS = [
  'probes',
  'payloadBytes',
  'forwards',
  'exampleForwards',
  'disputes',
  'rounds',
  'elapsed',
] as const;

export function progressOf(ledger: Ledger): Progress {
  const { train, validation, test } = ledger.evaluations;
  return {
    records: ledger.records,
    round: ledger.round,
    rounds: ledger.job === null ? 0 : totalRounds(ledger.job),
    members: ledger.members.length,
    totals: ledger.totals,
    loss: Math.fround(ledger.loss),
    evaluations: { train: single(train), validation: single(validation), test: single(test) },
    complete: ledger.complete,
    finished: ledger.finished,
    end: ledger.end?.reason ?? null,
  };
}

export function encodeProgress(progress: Progress): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(progress.records, 'records').varint(progress.round, 'round');
  writer.varint(progress.rounds, 'rounds').varint(progress.members, 'members');
  for (const name of TOTALS) writer.varint(progress.totals[name], name);
  writer.float32(progress.loss);
  writer.byte(COMPLETE.indexOf(progress.complete) * 2 + (progress.finished ? 1 : 0));
  writer.byte(ENDS.indexOf(progress.end));
  const present = SPLITS.map((split, i) => (progress.evaluations[split] === null ? 0 : 1 << i));
  writer.byte(present.reduce((a, b) => a | b, 0));
  for (const split of SPLITS) {
    const history = progress.evaluations[split];
    if (history === null) continue;
    for (const e of [history.first, history.last])
      writer.varint(e.round, 'round').varint(e.count, 'count').float32(e.loss).float32(e.accuracy);
  }
  return writer.finish();
}

/** @throws OnebyteError RECORD_INVALID or RECORD_TRUNCATED. */
export function decodeProgress(bytes: Uint8Array): Progress {
  const reader = new ByteReader(bytes);
  const records = reader.varint('records');
  const round = reader.varint('round');
  const rounds = reader.varint('rounds');
  const members = reader.varint('members');
  const totals = Object.fromEntries(TOTALS.map((name) => [name, reader.varint(name)])) as unknown as Totals;
  const loss = reader.float32();
  const state = reader.byte();
  const complete = itemOf(COMPLETE, state >> 1);
  const end = itemOf(ENDS, reader.byte());
  const present = reader.byte();
  const [train, validation, test] = SPLITS.map((_, i) => (present & (1 << i) ? readSplit(reader) : null));
  reader.end();
  return {
    records,
    round,
    rounds,
    members,
    totals,
    loss,
    evaluations: { train: train!, validation: validation!, test: test! },
    complete,
    finished: (state & 1) === 1,
    end,
  };
}

function readSplit(reader: ByteReader): SplitProgress {
  const [first, last] = [0, 1].map(() => ({
    round: reader.varint('round'),
    count: reader.varint('count'),
    loss: reader.float32(),
    accuracy: reader.float32(),
  }));
  return { first: first!, last: last! };
}

function single(history: SplitProgress | null): SplitProgress | null {
  const rounded = (e: CombinedEvaluation) => ({
    ...e,
    loss: Math.fround(e.loss),
    accuracy: Math.fround(e.accuracy),
  });
  return history === null ? null : { first: rounded(history.first), last: rounded(history.last) };
}

function itemOf<T>(items: readonly T[], index: number): T {
  if (index >= items.length)
    throw new OnebyteError('RECORD_INVALID', `not a summary: unknown state ${index}`);
  return items[index] as T;
}
