import { OnebyteError } from '../errors.ts';
import type { Contributions } from '../grid/contribution.ts';
import { mergeProduct, type Product, productFits } from '../grid/doubles.ts';
import { powerOfTwo, roundCoefficient, roundingWords } from '../grid/quantum.ts';
import type { TensorStore } from '../grid/store.ts';
import { advance, currentStage, emptyLedger, type Ledger, stageOf } from '../journal/ledger.ts';
import type { Digest, GenesisRecord, JournalRecord, RoundRecord } from '../journal/record.ts';
import { emptyHistory, type PoolHistory, remember } from '../method/pool.ts';
import { Momentum } from './momentum.ts';
import { PoolMerge } from './pool-merge.ts';
import { decodeReplica, encodeReplica } from './snapshot.ts';
import { epochOf, type Merge, type StageTensors } from './stage.ts';
import { directionsOf, seedsOf, type Update, updateOf } from './update.ts';

/** Records that can be taken back one by one; going back further rebuilds. Bounds what a replica remembers. */
const UNDO_WINDOW = 64;

/** What takes one record back. */
interface Undo {
  readonly before: Ledger;
  /** What was added to the state: null where nothing was, 'rebuild' where it cannot be taken back. */
  readonly added: Addition | null | 'rebuild';
}

interface Addition {
  readonly contributions: Contributions;
  readonly generation: number;
  readonly update: Update;
}

/** Where in the plan a state is: what an evaluator has to be ready for. */
export interface Position {
  readonly stage: number;
  readonly epoch: number;
}

/**
 * One replica: the ledger and the exact state, moved by records alone. Deterministic; owns no clock, network or
 * randomness. A worker, the replayer and the simulator run this same class.
 */
export class Replica {
  readonly store: TensorStore;
  readonly #stages: readonly StageTensors[];
  readonly #reset: () => void;
  readonly #applied: { readonly record: JournalRecord; readonly body: Uint8Array }[] = [];
  readonly #undo: Undo[] = [];
  #ledger: Ledger = emptyLedger();
  #history: PoolHistory | null = null;
  #momentum: { readonly stage: number; readonly of: Momentum } | null = null;
  /** What this replica began from in place of the start values. */
  #base: { readonly records: number; readonly read: () => Uint8Array } | null = null;

  /**
   * @param stages for each stage of the plan, what it moves
   * @param reset gives `store` its start values again, for a rewind that nothing shorter can do
   */
  constructor(store: TensorStore, stages: readonly StageTensors[], reset: () => void) {
    this.store = store;
    this.#stages = stages;
    this.#reset = reset;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  /** Records applied, all kinds. */
  get records(): number {
    return (this.#base?.records ?? 0) + this.#applied.length;
  }

  /** The stage and epoch of the state as it is now. */
  get position(): Position {
    const { index } = currentStage(this.#ledger);
    return { stage: index, epoch: epochOf(this.#stages[index]!, this.#ledger.totals.rounds) };
  }

  digest(): Digest {
    return this.store.digest();
  }

  /** The state and all that the effect of coming records depends on, from which another replica can go on. */
  snapshot(): Uint8Array {
    return encodeReplica({
      ledger: this.#ledger,
      state: this.store.snapshot(),
      pool: this.#history,
      momentum:
        this.#momentum === null
          ? null
          : { stage: this.#momentum.stage, velocities: this.#momentum.of.velocities() },
    });
  }

  /**
   * Goes on from a snapshot in place of the start values.
   * @param read gives the snapshot's bytes, at every rebuild again: they are not kept in memory
   * @throws OnebyteError SNAPSHOT_INVALID, and then the replica is before its first record
   */
  begin(read: () => Uint8Array, genesis: GenesisRecord): Ledger {
    this.#base = null;
    this.#forget();
    try {
      this.#load(read(), genesis);
    } catch (cause) {
      this.restart();
      if (cause instanceof OnebyteError && cause.code === 'SNAPSHOT_INVALID') throw cause;
      throw new OnebyteError('SNAPSHOT_INVALID', 'the snapshot cannot be used: it is malformed', { cause });
    }
    this.#base = { records: this.#ledger.records, read };
    return this.#ledger;
  }

  #load(bytes: Uint8Array, genesis: GenesisRecord): void {
    const { ledger, state, pool, momentum } = decodeReplica(bytes, genesis);
    this.store.restore(state);
    this.#ledger = ledger;
    this.#history = pool;
    if (momentum === null) return;
    const of = new Momentum(this.store);
    of.restore(momentum.velocities);
    this.#momentum = { stage: momentum.stage, of };
  }

  tensorDigests(): Digest[] {
    return this.store.tensorDigests();
  }

  /** Four seed words for each of the next round's first `count` probes of a slot. */
  seeds(slot: number, count: number): Uint32Array {
    const directions = directionsOf(this.#ledger, this.#ledger.job!, this.#history);
    return seedsOf(Array.from({ length: count }, (_, probe) => directions(slot, probe)));
  }

  /** Applies the next record. @throws OnebyteError RECORD_INVALID, and then nothing has changed */
  commit(record: JournalRecord, body: Uint8Array): Ledger {
    const before = this.#ledger;
    const after = advance(before, record, body);
    if (record.kind === 'genesis' && after.job!.method.seedPool > 0)
      this.#history = emptyHistory(after.job!.method.seedPool);
    const added = moves(before, after, record) ? this.#update(before, record, null) : null;
    this.#ledger = after;
    this.#applied.push({ record, body });
    this.#undo.push({ before, added });
    if (this.#undo.length > UNDO_WINDOW) this.#undo.shift();
    return after;
  }

  /**
   * Applies many records, as a newcomer or the replayer does. With a seed pool the rounds are merged, which costs one
   * pass over the state for each candidate instead of one for each probe. Rewinding into them rebuilds.
   */
  commitAll(entries: Iterable<{ readonly record: JournalRecord; readonly body: Uint8Array }>): Ledger {
    const merge = new PoolMerge(this.store);
    for (const { record, body } of entries) {
      const before = this.#ledger;
      const after = advance(before, record, body);
      if (this.#history === null || !moves(before, after, record)) {
        this.commit(record, body);
        continue;
      }
      this.#update(before, record, merge);
      this.#ledger = after;
      this.#applied.push({ record, body });
      this.#undo.length = 0;
    }
    merge.flush();
    return this.#ledger;
  }

  /** @param merge takes the round's contributions where it can, to be added later */
  #update(before: Ledger, record: RoundRecord, merge: PoolMerge | null): Undo['added'] {
    const { index } = stageOf(before.job!, record.round);
    const stage = this.#stages[index]!;
    const update = updateOf(before, record, directionsOf(before, before.job!, this.#history));
    const contributions = this.#onGrid(update, stage.tensors);
    const generation = this.store.generation;
    let undoable = true;
    if (update.momentum > 0 || merge === null || !merge.take(update.directions, contributions)) {
      merge?.flush();
      undoable = this.#move(index, update, contributions);
    }
    this.#remember(update, 1);
    const epoch = stage.mergedBefore.indexOf(record.round + 1);
    if (epoch >= 0) {
      merge?.flush();
      for (const product of stage.merges) this.#merge(product, epoch);
      undoable = false;
    }
    return undoable ? { contributions, generation, update } : 'rebuild';
  }

  /** Rounds each real coefficient to each tensor's grid, with randomness from the probe's own seed. */
  #onGrid(update: Update, tensors: readonly number[]): Contributions {
    const count = update.directions.length;
    const coefficients = new Int32Array(count * tensors.length);
    update.directions.forEach(({ own }, k) => {
      tensors.forEach((tensor, column) => {
        coefficients[k * tensors.length + column] = roundCoefficient(
          update.amounts[k]!,
          this.store.exponent(tensor),
          roundingWords(own, tensor),
        );
      });
    });
    return { count, seeds: seedsOf(update.directions), tensors, coefficients };
  }

  /** @returns whether it can be taken back */
  #move(stage: number, update: Update, contributions: Contributions): boolean {
    if (update.momentum === 0) return this.store.add(contributions).length === 0;
    if (this.#momentum?.stage !== stage) this.#momentum = { stage, of: new Momentum(this.store) };
    this.#momentum.of.apply(contributions, update.momentum);
    return false;
  }

  #remember(update: Update, direction: 1 | -1): void {
    if (this.#history === null) return;
    for (const [k, { candidate }] of update.directions.entries())
      remember(this.#history, candidate, update.measured[k]!.value, direction);
  }

  /** W += C V and C = 0, exactly, its velocity too; W is coarsened first where the sum would leave its grid. */
  #merge({ weight, left, right, rank, inputs, factor }: Merge, epoch: number): void {
    const { store } = this;
    const v = typeof right === 'function' ? right(epoch) : this.#whole(right);
    const product = (): Product => ({
      w: store.view(weight),
      exponentW: store.exponent(weight),
      c: store.view(left),
      exponentC: store.exponent(left),
      v: v.values,
      exponentV: v.exponent,
      factor,
      out: store.view(weight).length / inputs,
      rank,
      in: inputs,
    });
    while (!productFits(product())) store.coarsen(weight);
    mergeProduct(product());
    store.settle(weight);
    store.view(left).fill(0);
    store.settle(left);
    // C stands for other rows of V from here on, along which nothing was measured.
    if (typeof right === 'function') this.#momentum?.of.forget(left);
  }

  /** A tensor as whole quanta. */
  #whole(index: number): { values: Float64Array; exponent: number } {
    const exponent = this.store.exponent(index);
    return { values: Float64Array.from(this.store.view(index), (x) => x * powerOfTwo(-exponent)), exponent };
  }

  /**
   * Goes back to the state after the first `records` records: by taking rounds back exactly where all of them allow
   * it, else from the start values or the snapshot that it began from.
   * @returns the records that it is at: 0 where it was to go behind that snapshot, which it cannot
   */
  rewind(records: number): number {
    if (records < 0 || records > this.records)
      throw new OnebyteError('INTERNAL', `cannot rewind from ${this.records} to ${records} records`);
    if (records < (this.#base?.records ?? 0)) {
      this.restart();
      return 0;
    }
    const back = this.records - records;
    const undoable =
      back <= this.#undo.length && !this.#undo.slice(-back).some(({ added }) => added === 'rebuild');
    if (back > 0 && !undoable) {
      this.#rebuild(records);
      return records;
    }
    while (this.records > records) {
      this.#applied.pop();
      const { added, before } = this.#undo.pop()!;
      if (added !== null && added !== 'rebuild') {
        this.store.undo(added.contributions, added.generation);
        this.#remember(added.update, -1);
      }
      this.#ledger = before;
    }
    return records;
  }

  /** Back to before the first record, from the start values. */
  restart(): void {
    this.#base = null;
    this.#rebuild(0);
  }

  /** Of all records; the state stays as it is. */
  #forget(): void {
    this.#applied.length = 0;
    this.#undo.length = 0;
    this.#ledger = emptyLedger();
    this.#history = null;
    this.#momentum = null;
  }

  #rebuild(records: number): void {
    const base = this.#base;
    const { genesis } = this.#ledger;
    const kept = this.#applied.slice(0, records - (base?.records ?? 0));
    this.#forget();
    if (base === null) this.#reset();
    else this.#load(base.read(), genesis!);
    this.commitAll(kept);
  }
}

/** Whether a record moves the state. */
function moves(before: Ledger, after: Ledger, record: JournalRecord): record is RoundRecord {
  return record.kind === 'round' && before.complete === null && after.round > before.round;
}
