import { OnebyteError } from '../errors.ts';
import { decodeBody, encodeBody } from '../journal/codec.ts';
import { sealRecord } from '../journal/envelope.ts';
import { follow } from '../journal/follow.ts';
import type { Ledger } from '../journal/ledger.ts';
import type { LogEntry } from '../log/log.ts';
import type { Event } from '../round/event.ts';
import type { MachineState } from '../round/state.ts';
import { decodePack, encodePack } from '../store/pack.ts';
import type { Store } from '../store/store.ts';

/** Packs from one snapshot to the next, at most, and the fewest rounds of each. */
const STEPS = 64;
const MIN_ROUNDS = 16;
/** A pack covers 1, 2, 4, ... steps; there is one place for each of these. */
export const LEVELS = 6;
/** Bytes that are kept for packing; beyond them there are no packs until the next snapshot. */
const MAX_BYTES = 1 << 24;

/**
 * Where a pack ends, how many steps it covers: after the k-th step of an interval between snapshots, as many as the
 * largest power of two that divides k. So what was said since the snapshot is always in a handful of packs, and each
 * record is packed a few times only.
 */
export function packDue(everyRounds: number, round: number): { level: number; rounds: number } | null {
  if (everyRounds === 0 || round === 0) return null;
  const step = Math.max(MIN_ROUNDS, Math.ceil(everyRounds / STEPS));
  const into = round % everyRounds === 0 ? everyRounds : round % everyRounds;
  if (into % step !== 0) return null;
  const k = into / step;
  const level = Math.min(LEVELS - 1, 31 - Math.clz32(k & -k));
  return { level, rounds: step << level };
}

/** What a packer remembers of an entry: its record's body, and the round that comes after it. */
interface Kept {
  readonly seq: number;
  readonly round: number;
  readonly body: Uint8Array;
}

/**
 * Keeps, in a store, what the log says after the last snapshot, packed: an entry costs a newcomer several times as much
 * when it comes alone. One member does, another one each time.
 */
export class Packer {
  readonly #store: Store;
  readonly #onError: (error: unknown) => void;
  #before: Ledger;
  /** What comes before the first entry that is kept. */
  #base: number;
  /** No entry of the log between them is missing. */
  #kept: Kept[] = [];
  #bytes = 0;

  /** @param start what the member begins from @param onError is told what went wrong, which is nobody's loss */
  constructor(store: Store, start: Ledger, onError: (error: unknown) => void) {
    this.#store = store;
    this.#before = start;
    this.#base = start.round;
    this.#onError = onError;
  }

  /** To be told of every step of the member. */
  step(event: Event, state: Pick<MachineState, 'ledger' | 'seq' | 'target' | 'self'>): void {
    const { ledger, seq, target, self } = state;
    const before = this.#before;
    this.#before = ledger;
    if (event.type === 'truncated') this.#back(event.seq, ledger);
    if (event.type === 'rebuilding' || event.type === 'ignored') this.#drop(ledger);
    if (event.type !== 'entry') return;
    const { record } = event;
    if (before.genesis === null || this.#bytes > MAX_BYTES) {
      this.#drop(ledger);
      return;
    }
    this.#keep({ seq: event.seq, round: ledger.round, body: encodeBody(record, before) });
    if (record.kind === 'checkpoint') this.#forget(record.round);
    if (ledger.round === before.round || seq <= (target ?? seq)) return;
    const due = packDue(ledger.job?.checkpoint.everyRounds ?? 0, ledger.round);
    const turn = ledger.members[ledger.round % ledger.members.length]?.id === self.id;
    if (due !== null && turn) this.#put(due.level, ledger.round - due.rounds);
  }

  /** Packs what came after the record that led to the round `after`. */
  #put(level: number, after: number): void {
    const kept = after === this.#base ? this.#kept : this.#after(after);
    const [first] = kept;
    if (first === undefined) return;
    const pack = encodePack({ from: first.seq, bodies: kept.map(({ body }) => body) });
    const index = { level, from: first.seq, end: first.seq + kept.length };
    this.#store.putPack(index, pack).catch(this.#onError);
  }

  #keep(entry: Kept): void {
    this.#kept.push(entry);
    this.#bytes += entry.body.length;
  }

  /** Nobody needs what leads to a snapshot. */
  #forget(round: number): void {
    if (round <= this.#base) return;
    this.#hold(this.#after(round), round);
  }

  /** Entries after the record that led to a round; none where that is not known. */
  #after(round: number): Kept[] {
    const at = this.#kept.findIndex((entry) => entry.round === round);
    return at < 0 ? [] : this.#kept.slice(at + 1);
  }

  /** Entries after `seq` are no more. */
  #back(seq: number, ledger: Ledger): void {
    const kept = this.#kept.filter((entry) => entry.seq <= seq);
    if (kept.length === 0) this.#drop(ledger);
    else this.#hold(kept, this.#base);
  }

  #drop({ round }: Ledger): void {
    this.#hold([], round);
  }

  #hold(kept: Kept[], base: number): void {
    this.#kept = kept;
    this.#base = base;
    this.#bytes = kept.reduce((sum, { body }) => sum + body.length, 0);
  }
}

/**
 * Entries of the log after `seq`, at which the ledger is this one, as far as packs go on from there without a gap. What
 * is not the log's is found out when the log is followed from their end on, and taken back.
 */
export async function unpack(store: Store, start: { ledger: Ledger; seq: number }): Promise<LogEntry[]> {
  const packs = await store.packs(LEVELS);
  const entries: LogEntry[] = [];
  let { ledger, seq } = start;
  for (;;) {
    const next = seq + 1;
    const usable = packs.filter(({ from, end }) => from <= next && end > next);
    const [longest] = usable.sort((a, b) => b.end - a.end);
    const bytes = longest === undefined ? null : await store.getPack(longest.level);
    const pack = bytes === null ? null : decodePack(bytes);
    // Another may be in its place by now.
    if (pack === null || pack.from > next || pack.from + pack.bodies.length <= next) return entries;
    for (const body of pack.bodies.slice(next - pack.from)) {
      const entry = entryOf(ledger, body);
      if (entry === null) return entries;
      ledger = entry.ledger;
      entries.push({ seq: ++seq, data: entry.data });
    }
  }
}

/** The entry that the record of this body makes after a ledger; null where it cannot follow. */
function entryOf(ledger: Ledger, body: Uint8Array): { data: Uint8Array; ledger: Ledger } | null {
  try {
    const data = sealRecord(ledger, decodeBody(body, ledger));
    const outcome = follow(ledger, { data });
    return 'ignored' in outcome ? null : { data, ledger: outcome.ledger };
  } catch (error) {
    if (error instanceof OnebyteError) return null;
    throw error;
  }
}
