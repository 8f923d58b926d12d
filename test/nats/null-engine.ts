import type { Digest, JournalRecord } from '../../worker/journal/record.ts';
import { MINUS, PLUS } from '../../worker/journal/signs.ts';
import type { Replica } from '../../worker/replica/replica.ts';
import type {
  EnginePort,
  EvaluateRequest,
  Probed,
  ProbeRequest,
  TensorDigest,
} from '../../worker/round/engine-port.ts';
import type { Sums } from '../../worker/round/messages.ts';
import { shardRows } from '../../worker/round/shard.ts';

const EXAMPLES = 40;

/** No state at all: every digest is the same. */
export class StatelessEngine implements EnginePort {
  async commit(): Promise<void> {}
  async rewind(): Promise<void> {}
  async rebuild(): Promise<void> {}

  async digest(): Promise<Digest> {
    return '0'.repeat(64);
  }

  async probe({ count }: ProbeRequest): Promise<Probed | null> {
    return { bytes: new Uint8Array(count).fill(65), lossSum: 2, lossCount: 4 };
  }

  async evaluate(): Promise<readonly Sums[] | null> {
    return [];
  }
}

/** A real replica, whose probes measure nothing: what is left of a round is what it costs to agree on it. */
export class NullEngine implements EnginePort {
  readonly #fresh: () => Replica;
  readonly #probeMs: number;
  readonly #moved: (replica: Replica) => void;
  #replica: Replica;

  /** @param moved is told of the replica after every record and every step back */
  constructor(fresh: () => Replica, probeMs: number, moved: (replica: Replica) => void) {
    this.#fresh = fresh;
    this.#probeMs = probeMs;
    this.#moved = moved;
    this.#replica = fresh();
  }

  get replica(): Replica {
    return this.#replica;
  }

  async commit(record: JournalRecord, body: Uint8Array): Promise<void> {
    this.#replica.commit(record, body);
    this.#moved(this.#replica);
  }

  async rewind(records: number): Promise<void> {
    this.#replica.rewind(records);
    this.#moved(this.#replica);
  }

  async rebuild(): Promise<void> {
    this.#replica = this.#fresh();
  }

  async digest(): Promise<Digest> {
    return this.#replica.digest();
  }

  async tensors(): Promise<readonly TensorDigest[]> {
    const digests = this.#replica.tensorDigests();
    return this.#replica.store.tensors.map(({ name }, index) => ({ name, digest: digests[index]! }));
  }

  async probe({ round, slot, count }: ProbeRequest, signal: AbortSignal): Promise<Probed | null> {
    if (this.#probeMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#probeMs));
    if (signal.aborted) return null;
    const signs = this.#replica.ledger.job?.method.codec === 'sign1';
    const bytes = Uint8Array.from({ length: count }, (_, k) => {
      const any = 31 * round + 7 * slot + k;
      return signs ? (any % 2 === 0 ? PLUS : MINUS) : 1 + (any % 250);
    });
    return { bytes, lossSum: 2, lossCount: 4 };
  }

  async evaluate({ splits, shard }: EvaluateRequest, signal: AbortSignal): Promise<readonly Sums[] | null> {
    if (signal.aborted) return null;
    const count = shardRows(EXAMPLES, shard).length;
    if (count === 0) return [];
    return splits.map((split) => ({ split, count, lossSum: count / 2, correct: count >> 1 }));
  }
}
