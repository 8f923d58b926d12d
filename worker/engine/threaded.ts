import { Worker } from 'node:worker_threads';
import { OnebyteError } from '../errors.ts';
import type { Digest, GenesisRecord, JournalRecord } from '../journal/record.ts';
import { programUrl } from '../programs.ts';
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
import type { EngineConfig, EngineFacts } from './engine.ts';
import { guardExit } from './exit-gate.ts';
import { type Call, errorOf, type Method, type Reply } from './protocol.ts';

/**
 * An engine in a thread of its own, so that heartbeats, the bus and the log stay alive while ONNX Runtime computes.
 * Calls are carried out in the order they are made.
 */
export class ThreadedEngine implements EnginePort {
  readonly facts: EngineFacts;
  readonly #thread: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 1;
  #dead: OnebyteError | null = null;

  private constructor(thread: Worker, facts: EngineFacts) {
    this.#thread = thread;
    this.facts = facts;
    thread.on('message', (reply: Reply) => this.#receive(reply));
    thread.on('error', (error) => this.#fail(error.message));
    thread.on('exit', () => this.#fail('its thread has ended'));
  }

  /** @throws OnebyteError whatever opening the engine throws */
  static async open(config: EngineConfig): Promise<ThreadedEngine> {
    guardExit();
    const thread = new Worker(programUrl('engine-thread'), { workerData: config });
    const reply = await new Promise<Reply>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
    });
    if (reply.type === 'opened') return new ThreadedEngine(thread, reply.facts);
    await thread.terminate();
    throw reply.type === 'unopened'
      ? errorOf(reply.failure)
      : new OnebyteError('INTERNAL', 'the engine did not open');
  }

  async commit(record: JournalRecord, body: Uint8Array): Promise<void> {
    await this.#call('commit', record, body);
  }

  async commitAll(entries: readonly Committed[]): Promise<void> {
    await this.#call('commitAll', entries);
  }

  async snapshot(): Promise<SnapshotFile> {
    return (await this.#call('snapshot')) as SnapshotFile;
  }

  /** `Engine.begin`, before anything is committed. */
  async begin(file: Pick<SnapshotFile, 'path' | 'digest'>, genesis: GenesisRecord): Promise<Digest> {
    return (await this.#call('begin', file, genesis)) as Digest;
  }

  async rewind(records: number): Promise<void> {
    await this.#call('rewind', records);
  }

  async rebuild(): Promise<void> {
    await this.#call('rebuild');
  }

  async prepare(): Promise<void> {
    await this.#call('prepare');
  }

  async probe({ round, slot, count, roundChain }: ProbeRequest, signal: AbortSignal): Promise<Probed | null> {
    return (await this.#work('probe', { round, slot, count, roundChain }, signal)) as Probed | null;
  }

  async evaluate(
    { round, splits, shard }: EvaluateRequest,
    signal: AbortSignal,
  ): Promise<readonly Sums[] | null> {
    return (await this.#work('evaluate', { round, splits, shard }, signal)) as Sums[] | null;
  }

  async digest(): Promise<string> {
    return (await this.#call('digest')) as string;
  }

  async tensors(): Promise<readonly TensorDigest[]> {
    return (await this.#call('tensors')) as readonly TensorDigest[];
  }

  async close(): Promise<void> {
    if (this.#dead === null) await this.#call('close');
    await this.#thread.terminate();
  }

  /** A call that ends early, between two calls of the runtime, once `signal` says that nobody wants its result. */
  async #work(method: Method, request: unknown, signal: AbortSignal): Promise<unknown> {
    if (signal.aborted) return null;
    const abandoned = new Int32Array(new SharedArrayBuffer(4));
    const abandon = () => Atomics.store(abandoned, 0, 1);
    signal.addEventListener('abort', abandon, { once: true });
    try {
      const result = await this.#send({ method, args: [request], abandoned });
      return signal.aborted ? null : result;
    } finally {
      signal.removeEventListener('abort', abandon);
    }
  }

  #call(method: Method, ...args: readonly unknown[]): Promise<unknown> {
    return this.#send({ method, args });
  }

  #send(call: Omit<Call, 'id'>): Promise<unknown> {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    const id = this.#next++;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#thread.postMessage({ id, ...call } satisfies Call);
    return waiting.promise;
  }

  #receive(reply: Reply): void {
    if (reply.type !== 'value' && reply.type !== 'failure') return;
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.type === 'value') waiting?.resolve(reply.value);
    else waiting?.reject(errorOf(reply.failure));
  }

  #fail(why: string): void {
    this.#dead ??= new OnebyteError('ENGINE_FAILED', `the engine stopped: ${why}`, {
      remedy: 'if memory ran out, use a smaller batch or fewer tokens',
    });
    for (const { reject } of this.#waiting.values()) reject(this.#dead);
    this.#waiting.clear();
  }
}
