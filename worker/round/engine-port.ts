import type { Split } from '../journal/ledger.ts';
import type { Digest, JournalRecord } from '../journal/record.ts';
import type { SnapshotFile } from './checkpoint.ts';
import type { Sums, Tag } from './messages.ts';
import type { Shard } from './shard.ts';

export interface ProbeRequest {
  readonly round: number;
  readonly slot: number;
  readonly count: number;
  readonly roundChain: Uint8Array;
}

export interface Probed {
  /** One per probe, 0 where it abstains. */
  readonly bytes: Uint8Array;
  readonly lossSum: number;
  readonly lossCount: number;
  /** Of what it took: moving the trained weights along directions and back, where that is known. */
  readonly directionSeconds?: number;
  /** Of what it took: what no later probe of the same rows takes again, where that is known. */
  readonly frozenSeconds?: number;
}

export interface EvaluateRequest {
  readonly round: number;
  readonly splits: readonly Split[];
  readonly shard: Shard;
}

/** A tensor of the state, and the digest of what it holds. */
export interface TensorDigest {
  readonly name: string;
  readonly digest: Digest;
}

export interface Committed {
  readonly record: JournalRecord;
  readonly body: Uint8Array;
}

/**
 * One replica's state and what evaluates it. Calls are carried out one after the other, in the order they are made. A
 * rejection ends the member with that error.
 */
export interface EnginePort {
  /** Applies the record that follows the ones before. */
  commit(record: JournalRecord, body: Uint8Array): Promise<void>;
  /** Applies many, for engines that have a quicker way than one by one. */
  commitAll?(entries: readonly Committed[]): Promise<void>;
  /** Back to the state after the first `records` records. */
  rewind(records: number): Promise<unknown>;
  /** Back to before the first record, from the base and nothing that could be wrong by now. */
  rebuild(): Promise<void>;
  /** Makes ready for probes at the state as it is, for engines that take long for the first one of a stage. */
  prepare?(): Promise<void>;
  /** Null when `signal` aborted it; the state is as before in any case. */
  probe(request: ProbeRequest, signal: AbortSignal): Promise<Probed | null>;
  evaluate(request: EvaluateRequest, signal: AbortSignal): Promise<readonly Sums[] | null>;
  digest(): Promise<Digest>;
  /** One for each tensor, in layout order, for engines that can tell where two states differ. */
  tensors?(): Promise<readonly TensorDigest[]>;
  /** Writes the state down, for engines that can. */
  snapshot?(): Promise<SnapshotFile>;
}

/** A state that was thrown away: because of which round, which one it was, and what it held. */
interface Discarded {
  readonly round: number;
  readonly chain: Uint8Array;
  readonly tensors: readonly TensorDigest[];
}

/** A reason of our own spares the making of an exception for every round. */
export const ABANDONED = 'abandoned';
/** Records that are kept for one `commitAll`. */
const MAX_BACKLOG = 1024;

/** The engine as a member uses it: records of the past in bulk, one digest per state, work that can be abandoned. */
export class EngineDesk {
  readonly #engine: EnginePort;
  #backlog: Committed[] = [];
  #digest: { readonly tag: Tag; readonly value: Promise<Digest> } | null = null;
  #work = new AbortController();
  /** Requests without a result so far. */
  #underWay = 0;
  /** To be compared with the state built anew. */
  #discarded: Discarded | null = null;

  constructor(engine: EnginePort) {
    this.#engine = engine;
  }

  /** Applies a record of the past, now or later: before anything that looks at the state. */
  async commitLater(entry: Committed): Promise<void> {
    this.#backlog.push(entry);
    this.#digest = null;
    if (this.#engine.commitAll === undefined || this.#backlog.length >= MAX_BACKLOG) await this.flush();
  }

  /** @param moves whether the state is another one after it */
  async commit({ record, body }: Committed, moves: boolean): Promise<void> {
    await this.flush();
    await this.#engine.commit(record, body);
    if (moves) this.#digest = null;
  }

  /** Of the state that `tag` names, which is the one there is. */
  digest(tag: Tag): Promise<Digest> {
    if (this.#digest?.tag !== tag) {
      const flushed = this.flush();
      this.#digest = { tag, value: flushed.then(() => this.#engine.digest()) };
    }
    return this.#digest.value;
  }

  async prepare(): Promise<void> {
    await this.flush();
    await this.#engine.prepare?.();
  }

  probe(request: ProbeRequest): Promise<Probed | null> {
    return this.#working((signal) => this.#engine.probe(request, signal));
  }

  evaluate(request: EvaluateRequest): Promise<readonly Sums[] | null> {
    return this.#working((signal) => this.#engine.evaluate(request, signal));
  }

  async #working<T>(work: (signal: AbortSignal) => Promise<T | null>): Promise<T | null> {
    const { signal } = this.#work;
    this.#underWay++;
    try {
      await this.flush();
      return signal.aborted ? null : await work(signal);
    } finally {
      this.#underWay--;
    }
  }

  /** Nobody wants the results of what was asked for so far. */
  abandon(): void {
    if (this.#underWay === 0) return;
    this.#work.abort(ABANDONED);
    this.#work = new AbortController();
  }

  /** Of the state as it is now; null where the engine keeps none. */
  async snapshot(): Promise<SnapshotFile | null> {
    await this.flush();
    return (await this.#engine.snapshot?.()) ?? null;
  }

  async rewind(records: number): Promise<void> {
    await this.flush();
    await this.#engine.rewind(records);
    this.#digest = null;
  }

  /**
   * Throws the state away, which is the one after `chain`.
   * @param round whose record told that it is wrong
   */
  async rebuild(round: number, chain: Uint8Array): Promise<void> {
    this.#discarded = { round, chain, tensors: await this.#tensors() };
    this.#backlog = [];
    await this.#engine.rebuild();
    this.#digest = null;
  }

  /** Which tensors of the state that was thrown away were wrong, once the new one has come as far; null: not now. */
  async compare(chain: Uint8Array): Promise<(Pick<Discarded, 'round'> & { tensors: string[] }) | null> {
    const discarded = this.#discarded;
    if (discarded === null || Buffer.compare(discarded.chain, chain) !== 0) return null;
    this.#discarded = null;
    const right = await this.#tensors();
    const wrong = discarded.tensors.filter(({ digest }, i) => digest !== right[i]?.digest);
    return { round: discarded.round, tensors: wrong.map(({ name }) => name) };
  }

  async #tensors(): Promise<readonly TensorDigest[]> {
    await this.flush();
    return (await this.#engine.tensors?.()) ?? [];
  }

  /** Applies what was put off. */
  async flush(): Promise<void> {
    const backlog = this.#backlog;
    if (backlog.length === 0) return;
    this.#backlog = [];
    if (this.#engine.commitAll !== undefined) await this.#engine.commitAll(backlog);
    else for (const { record, body } of backlog) await this.#engine.commit(record, body);
  }
}
