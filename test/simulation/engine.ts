import { addDirection } from '../../worker/direction/rademacher.ts';
import { OnebyteError } from '../../worker/errors.ts';
import type { Digest, JournalRecord } from '../../worker/journal/record.ts';
import type { Scheduler } from '../../worker/log/virtual-time.ts';
import { codec } from '../../worker/method/codec.ts';
import type { Replica } from '../../worker/replica/replica.ts';
import type { SnapshotFile } from '../../worker/round/checkpoint.ts';
import type {
  Committed,
  EnginePort,
  EvaluateRequest,
  Probed,
  ProbeRequest,
  TensorDigest,
} from '../../worker/round/engine-port.ts';
import type { Sums } from '../../worker/round/messages.ts';
import { shardRows } from '../../worker/round/shard.ts';
import type { Gate } from './gate.ts';
import type { Faulty } from './mutants.ts';
import type { Witness } from './witness.ts';

/** Rows of each split of a group. */
export const EXAMPLES = 40;

/**
 * A real replica with a quadratic loss: L(theta) = |theta - c|^2 / 2, c its own target, plus noise of the worker's
 * own. Probes take virtual time; what happens between is at once.
 */
export class SimulatedEngine implements EnginePort {
  /** Virtual milliseconds of one probe. */
  pace: number;
  readonly #id: string;
  readonly #fresh: () => Replica;
  readonly #scheduler: Scheduler;
  readonly #gate: Gate;
  readonly #witness: Witness;
  readonly #faulty: Faulty;
  #replica: Replica;
  /** Only some engines have it. */
  readonly commitAll?: (entries: readonly Committed[]) => Promise<void>;

  constructor(
    id: string,
    fresh: () => Replica,
    pace: number,
    bulk: boolean,
    parts: { scheduler: Scheduler; gate: Gate; witness: Witness; faulty: Faulty },
  ) {
    this.#id = id;
    this.#fresh = fresh;
    this.#replica = fresh();
    this.pace = pace;
    this.#scheduler = parts.scheduler;
    this.#gate = parts.gate;
    this.#witness = parts.witness;
    this.#faulty = parts.faulty;
    if (bulk)
      this.commitAll = async (entries) => {
        this.#replica.commitAll(entries);
        this.#witness.reached(this.#id, this.#replica);
      };
  }

  get replica(): Replica {
    return this.#replica;
  }

  async commit(record: JournalRecord, body: Uint8Array): Promise<void> {
    this.#faulty.commit(this.#replica, record, body);
    this.#witness.reached(this.#id, this.#replica);
  }

  async rewind(records: number): Promise<void> {
    this.#faulty.rewind(this.#replica, records);
    this.#witness.reached(this.#id, this.#replica);
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

  /** Of no bytes: nobody begins from one here, but the log hears of it. */
  async snapshot(): Promise<SnapshotFile> {
    return { digest: this.#replica.digest(), path: '', bytes: 0 };
  }

  /** Takes as long as several probes, and nothing cuts it short. */
  async prepare(): Promise<void> {
    await this.#busy(5 * this.pace, new AbortController().signal);
  }

  async probe(request: ProbeRequest, signal: AbortSignal): Promise<Probed | null> {
    const { ledger } = this.#replica;
    const expected = Buffer.compare(ledger.roundChain, request.roundChain) === 0;
    if (!expected || ledger.round !== request.round)
      throw new OnebyteError('INTERNAL', `a probe of round ${request.round} at round ${ledger.round}`);
    const { estimator, codec: codecName } = ledger.job!.method;
    const seeds = this.#replica.seeds(request.slot, request.count);
    const encode = codec(codecName).encode;
    const bytes = Uint8Array.from({ length: request.count }, (_, k) => {
      const z = seeds.subarray(4 * k, 4 * k + 4);
      const up = this.#loss(z, estimator.radius);
      const down = this.#loss(z, -estimator.radius);
      return encode((up - down) / (2 * estimator.radius) + this.#scheduler.random() - 0.5);
    });
    if (!(await this.#busy(request.count * this.pace, signal))) return null;
    this.#witness.measured(this.#id, request, bytes);
    return { bytes, lossSum: this.#loss(null, 0) * 4, lossCount: 4 };
  }

  async evaluate({ splits, shard }: EvaluateRequest, signal: AbortSignal): Promise<readonly Sums[] | null> {
    if (!(await this.#busy(this.pace, signal))) return null;
    const count = shardRows(EXAMPLES, shard).length;
    const sums = { count, lossSum: count * this.#loss(null, 0), correct: count >> 1 };
    return count === 0 ? [] : splits.map((split) => ({ split, ...sums }));
  }

  #loss(z: Uint32Array | null, radius: number): number {
    const { store } = this.#replica;
    let loss = 0;
    store.tensors.forEach(({ size }, index) => {
      const values = Float64Array.from(store.view(index));
      if (z !== null) addDirection(values, index, z, radius);
      for (let i = 0; i < size; i++) loss += (values[i]! - Math.cos(i)) ** 2 / 2;
    });
    return loss;
  }

  /** False when it was aborted. */
  #busy(ms: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      if (signal.aborted) resolve(false);
      signal.addEventListener('abort', () => resolve(false), { once: true });
      this.#gate.after(this.#scheduler, ms, () => resolve(!signal.aborted));
    });
  }
}
