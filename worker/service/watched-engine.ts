import { OnebyteError } from '../errors.ts';
import type { Digest, JournalRecord } from '../journal/record.ts';
import type { Phase } from '../metrics/definitions.ts';
import type { SnapshotFile } from '../round/checkpoint.ts';
import type {
  Committed,
  EnginePort,
  EvaluateRequest,
  Probed,
  ProbeRequest,
  TensorDigest,
} from '../round/engine-port.ts';
import type { Sums } from '../round/messages.ts';

/** An engine whose calls are timed: for metrics, and to tell one that works from one that hangs. */
export class WatchedEngine implements EnginePort {
  readonly #engine: EnginePort;
  readonly #now: () => number;
  readonly #onCall: (phase: Phase, ms: number) => void;
  /** When each call that is not answered yet was made, oldest first: they are answered in that order. */
  readonly #open = new Set<{ readonly at: number }>();

  /** @param now milliseconds of a clock that never goes back @param onCall is told of each call that was answered */
  constructor(engine: EnginePort, now: () => number, onCall: (phase: Phase, ms: number) => void) {
    this.#engine = engine;
    this.#now = now;
    this.#onCall = onCall;
  }

  /** Calls that are not answered yet. */
  get queue(): number {
    return this.#open.size;
  }

  /** Milliseconds since something was answered while a call was waiting; 0: idle. */
  get busyMs(): number {
    const [oldest] = this.#open;
    return oldest === undefined ? 0 : this.#now() - Math.max(oldest.at, this.#answeredAt);
  }

  /** Milliseconds since the last answer, infinite before the first; 0: busy. */
  get idleMs(): number {
    return this.#open.size > 0 ? 0 : this.#now() - this.#answeredAt;
  }

  #answeredAt = Number.NEGATIVE_INFINITY;

  commit(record: JournalRecord, body: Uint8Array): Promise<void> {
    return this.#timed('apply', () => this.#engine.commit(record, body));
  }

  /** Applies many; one at a time where the engine knows no other way. */
  async commitAll(entries: readonly Committed[]): Promise<void> {
    if (this.#engine.commitAll !== undefined) {
      await this.#timed(null, () => this.#engine.commitAll!(entries));
      return;
    }
    for (const { record, body } of entries) await this.#timed(null, () => this.#engine.commit(record, body));
  }

  rewind(records: number): Promise<unknown> {
    return this.#timed(null, () => this.#engine.rewind(records));
  }

  rebuild(): Promise<void> {
    return this.#timed(null, () => this.#engine.rebuild());
  }

  prepare(): Promise<void> {
    return this.#timed(null, async () => this.#engine.prepare?.());
  }

  probe(request: ProbeRequest, signal: AbortSignal): Promise<Probed | null> {
    const moving = (probed: Probed | null) => 1000 * (probed?.directionSeconds ?? 0);
    return this.#timed('forward', () => this.#engine.probe(request, signal), moving);
  }

  evaluate(request: EvaluateRequest, signal: AbortSignal): Promise<readonly Sums[] | null> {
    return this.#timed('evaluate', () => this.#engine.evaluate(request, signal));
  }

  digest(): Promise<Digest> {
    return this.#timed('digest', () => this.#engine.digest());
  }

  async tensors(): Promise<readonly TensorDigest[]> {
    return this.#timed(null, async () => (await this.#engine.tensors?.()) ?? []);
  }

  async snapshot(): Promise<SnapshotFile> {
    const { snapshot } = this.#engine;
    if (snapshot === undefined) throw new OnebyteError('INTERNAL', 'this engine keeps no snapshots');
    return this.#timed(null, () => snapshot.call(this.#engine));
  }

  /** @param directionMs how much of the call was spent on directions */
  async #timed<T>(
    phase: Phase | null,
    call: () => Promise<T>,
    directionMs: (value: T) => number = () => 0,
  ): Promise<T> {
    const made = { at: this.#now() };
    this.#open.add(made);
    let moving = 0;
    try {
      const value = await call();
      moving = directionMs(value);
      return value;
    } finally {
      const now = this.#now();
      this.#open.delete(made);
      // A call waits for the ones before it: its own time begins after theirs.
      const took = now - Math.max(made.at, this.#answeredAt);
      if (phase !== null) this.#onCall(phase, Math.max(0, took - moving));
      if (moving > 0) this.#onCall('direction', moving);
      this.#answeredAt = now;
    }
  }
}
