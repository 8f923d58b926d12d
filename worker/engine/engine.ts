import { OnebyteError } from '../errors.ts';
import type { SourceSpec } from '../journal/job.ts';
import { parseJob } from '../journal/job-text.ts';
import { currentStage, effective, SPLITS, type Split } from '../journal/ledger.ts';
import type { Digest, GenesisRecord, JournalRecord } from '../journal/record.ts';
import { encodeAll } from '../method/codec.ts';
import { openModelFolder } from '../model/folder.ts';
import { afterReading } from '../model/tokenizer.ts';
import type { Position, Replica } from '../replica/replica.ts';
import type { SnapshotFile } from '../round/checkpoint.ts';
import type { EvaluateRequest, Probed, ProbeRequest, TensorDigest } from '../round/engine-port.ts';
import type { Sums } from '../round/messages.ts';
import { shardRows } from '../round/shard.ts';
import { type Examples, NO_EXAMPLES } from '../task/examples.ts';
import { Sampler } from '../task/sampler.ts';
import { readArtifact } from './artifact.ts';
import { decodeBasis } from './basis-file.ts';
import { type Aborted, check, type Evaluator } from './evaluator.ts';
import { createEvaluator, scratchBytes } from './evaluators/create.ts';
import { giveBack } from './give-back.ts';
import { loadExamples } from './load-examples.ts';
import { checkGenesis, openReplica } from './open.ts';
import { SnapshotFolder } from './snapshots.ts';

/**
 * Milliseconds for frozen activations before somebody new takes part. The rest is computed as rounds draw it: with much data
 * all of them would take minutes in which a worker contributes nothing.
 */
const WARM_MS = 500;
/** The same as a stage begins, for all alike. What is left then is computed by the rounds that draw it. */
const STAGE_WARM_MS = 60_000;

/** What one worker's engine is opened with. Plain values: it crosses to another thread. */
export interface EngineConfig {
  readonly genesis: GenesisRecord;
  /** Whose batches are drawn; stable over restarts of the same worker. */
  readonly member: string;
  readonly modelDir: string;
  readonly artifacts: readonly string[];
  readonly data: Readonly<Record<Split, readonly SourceSpec[]>>;
  /** Folder that relative sources begin at. */
  readonly folder: string;
  readonly threads: number;
  readonly memoryBudgetBytes: number;
  /** Folder for this engine's snapshots; without it, it makes none. */
  readonly snapshots?: string;
}

/** What an engine says of itself once it is open. */
export interface EngineFacts {
  readonly rows: Readonly<Record<Split, number>>;
  readonly truncated: number;
}

/** One worker's replica and evaluator, side by side in one thread. */
export class Engine {
  readonly facts: EngineFacts;
  readonly #replica: Replica;
  readonly #evaluator: Evaluator;
  readonly #sampler: Sampler;
  readonly #close: () => Promise<void>;
  readonly #snapshots: SnapshotFolder | null;
  #entered: Position | null = null;

  private constructor(
    replica: Replica,
    evaluator: Evaluator,
    sampler: Sampler,
    facts: EngineFacts,
    close: () => Promise<void>,
    snapshots: SnapshotFolder | null,
  ) {
    this.#replica = replica;
    this.#evaluator = evaluator;
    this.#sampler = sampler;
    this.facts = facts;
    this.#close = close;
    this.#snapshots = snapshots;
  }

  static async open(config: EngineConfig): Promise<Engine> {
    const { job } = parseJob(config.genesis.job);
    const folder = await openModelFolder(config.modelDir, job.model);
    const reference = config.genesis.artifacts.find(({ name }) => name === 'basis');
    const basis = reference ? decodeBasis(await readArtifact(reference, config.artifacts)) : null;
    const { threads, memoryBudgetBytes } = config;
    const opened = openReplica(folder.model, job, basis, (plan) => ({
      scratchBytes: scratchBytes(plan),
      threads,
    }));
    const { plan, state, replica } = opened;
    checkGenesis(config.genesis, folder, replica);
    const examples: Record<Split, Examples> = {
      train: NO_EXAMPLES,
      validation: NO_EXAMPLES,
      test: NO_EXAMPLES,
    };
    for (const split of SPLITS)
      examples[split] = await loadExamples(job.task, folder, config.data[split], { folder: config.folder });
    const words = job.task.type === 'classification' ? (job.task.words ?? []) : [];
    const evaluator = await createEvaluator({
      job,
      folder: { ...folder, tokenizer: afterReading(folder.tokenizer, words) },
      state,
      plan,
      basis,
      examples,
      threads,
      memoryBudgetBytes,
    });
    const rows = { ...evaluator.rows };
    const truncated = SPLITS.reduce((sum, split) => sum + examples[split].truncated, 0);
    const sampler = new Sampler({ seed: job.seed, member: config.member, rows: rows.train });
    const close = async () => {
      await evaluator.close();
      await state.close();
    };
    const snapshots = config.snapshots === undefined ? null : new SnapshotFolder(config.snapshots);
    return new Engine(replica, evaluator, sampler, { rows, truncated }, close, snapshots);
  }

  commit(record: JournalRecord, body: Uint8Array): void {
    this.#replica.commit(record, body);
  }

  commitAll(entries: readonly { readonly record: JournalRecord; readonly body: Uint8Array }[]): void {
    this.#replica.commitAll(entries);
  }

  /** Writes the state down. @throws OnebyteError INTERNAL without a folder for that */
  snapshot(): SnapshotFile {
    if (this.#snapshots === null)
      throw new OnebyteError('INTERNAL', 'the engine has no folder for snapshots');
    return this.#snapshots.write(this.#replica.snapshot());
  }

  /**
   * Goes on from a snapshot in place of the start values.
   * @returns the digest of the state that it is at
   * @throws OnebyteError SNAPSHOT_INVALID; then the engine is before its first record
   */
  begin(file: Pick<SnapshotFile, 'path' | 'digest'>, genesis: GenesisRecord): Digest {
    this.#entered = null;
    const folder = this.#snapshots ?? new SnapshotFolder('');
    this.#replica.begin(folder.reader(file), genesis);
    return this.#replica.digest();
  }

  rewind(records: number): void {
    this.#replica.rewind(records);
    // The frozen part may be another one although stage and epoch are the same.
    this.#entered = null;
  }

  digest(): Digest {
    return this.#replica.digest();
  }

  tensors(): TensorDigest[] {
    const digests = this.#replica.tensorDigests();
    return this.#replica.store.tensors.map(({ name }, index) => ({ name, digest: digests[index]! }));
  }

  /** Makes ready for probes at the state as it is: sessions, and the frozen activations of the next rows. */
  async prepare(): Promise<void> {
    if (this.#replica.ledger.complete !== null) return;
    await this.#open();
    await this.#warm(WARM_MS);
  }

  /** Bytes of this worker's probes of the round that the replica is at. @throws Abandoned */
  async probe({ round, slot, count }: ProbeRequest, aborted?: Aborted): Promise<Probed> {
    check(aborted);
    const { ledger } = this.#replica;
    if (round !== ledger.round)
      throw new OnebyteError('INTERNAL', `asked for round ${round} at round ${ledger.round}`);
    await this.#enter();
    const { estimator, codec } = this.#method();
    const rows = this.#sampler.batch(round, estimator.batch);
    const { values, lossSum, lossCount, directionSeconds, frozenSeconds } = await this.#evaluator.probe(
      this.#replica.seeds(slot, count),
      rows,
      aborted,
    );
    return { bytes: encodeAll(codec, values), lossSum, lossCount, directionSeconds, frozenSeconds };
  }

  /** @throws Abandoned */
  async evaluate({ splits, shard }: EvaluateRequest, aborted?: Aborted): Promise<Sums[]> {
    check(aborted);
    await this.#enter();
    const sums: Sums[] = [];
    for (const split of splits) {
      const rows = shardRows(
        this.facts.rows[split],
        split === 'test' ? { ...shard, cap: Number.POSITIVE_INFINITY } : shard,
      );
      if (rows.length > 0) sums.push(await this.#evaluator.evaluate(split, rows, aborted));
    }
    return sums;
  }

  close(): Promise<void> {
    return this.#close();
  }

  #method() {
    const job = this.#replica.ledger.job!;
    const { stage } = currentStage(this.#replica.ledger);
    return { estimator: effective(job, stage).estimator, codec: job.method.codec };
  }

  /**
   * Makes ready for where the replica is, the rows' frozen activations too: a stage begins so for everybody, and who needed
   * longer for them in its first rounds would be taken for slow.
   */
  async #enter(): Promise<void> {
    if ((await this.#open()) && this.#replica.ledger.complete === null) await this.#warm(STAGE_WARM_MS);
  }

  /** Opens the sessions of where the replica is. @returns whether they were not open yet */
  async #open(): Promise<boolean> {
    const now = this.#replica.position;
    if (this.#entered?.stage === now.stage && this.#entered.epoch === now.epoch) return false;
    giveBack();
    await this.#evaluator.enter(now.stage, now.epoch);
    giveBack();
    this.#entered = now;
    return true;
  }

  #warm(ms: number): Promise<void> {
    return this.#evaluator.warm(this.#rowsToCome(), ms);
  }

  /** Training rows that the rest of the stage draws, in the order in which it first does. */
  #rowsToCome(): Int32Array {
    const { ledger } = this.#replica;
    const { start, rounds } = currentStage(ledger);
    const { batch } = this.#method().estimator;
    const rows = new Set<number>();
    for (let round = ledger.round; round < start + rounds && rows.size < this.facts.rows.train; round++)
      for (const row of this.#sampler.batch(round, batch)) rows.add(row);
    return Int32Array.from(rows);
  }
}
