import type { Evaluation } from '../../journal/record.ts';
import type { Batch } from '../../task/batch.ts';
import { chunksByLength, padBatch } from '../../task/batch.ts';
import type { Examples } from '../../task/examples.ts';
import { ActivationCache, Budget } from './cache.ts';
import type { Feed, Forward } from './session.ts';

export type Split = Evaluation['split'];
export const SPLITS: readonly Split[] = ['train', 'validation', 'test'];

/** Rows of one pass through the frozen part. */
const FROZEN = 16;
/** The same where time is short: fewer rows, so that it ends soon after its time is over. */
const HURRIED = 8;
/** Time that is short, in milliseconds. */
const HURRY = 5000;

export interface SourceOptions {
  readonly examples: Readonly<Record<Split, Examples>>;
  readonly padId: number;
  /** Numbers per token (hidden states) or per example (pooled features). */
  readonly width: number;
  readonly memoryBudgetBytes: number;
  /** Tokens of one pass; no limit where it is left out. */
  readonly tokens?: number | undefined;
}

/** Feeds a graph that starts at token ids, at a layer, or at pooled features with chunks of rows. */
export class RowSource {
  readonly #options: SourceOptions;
  /** Computes what is frozen; null where nothing is and rows are fed as they are. */
  readonly #frozen: Forward | null;
  /** `hidden`: per token. `pooled`: per example. */
  readonly #kind: 'ids' | 'hidden' | 'pooled';
  readonly #caches: Readonly<Record<Split, ActivationCache>>;
  /** Milliseconds that the frozen part has taken so far. */
  frozenMs = 0;

  constructor(options: SourceOptions, kind: 'ids' | 'hidden' | 'pooled', frozen: Forward | null) {
    this.#options = options;
    this.#kind = kind;
    this.#frozen = frozen;
    const { memoryBudgetBytes } = options;
    // Training rows are read every round, so what they can use is not given to the other splits.
    const training = Math.min(memoryBudgetBytes, this.#bytesOf(options.examples.train));
    const others = new Budget(memoryBudgetBytes - training);
    this.#caches = {
      train: new ActivationCache(new Budget(training)),
      validation: new ActivationCache(others),
      test: new ActivationCache(others),
    };
  }

  #bytesOf({ ids }: Examples): number {
    if (this.#kind === 'ids') return 0;
    const units = this.#kind === 'pooled' ? ids.length : ids.reduce((sum, row) => sum + row.length, 0);
    return units * this.#options.width * 4;
  }

  /** Feeds for one chunk of rows, without what is trained. The frozen part is computed for rows that are not cached. */
  async feeds(split: Split, rows: ArrayLike<number>): Promise<Record<string, Feed>> {
    const batch = padBatch(this.#options.examples[split], rows, this.#options.padId);
    const { count, tokens } = batch;
    const feeds = {
      attention_mask: { data: batch.mask, dims: [count, tokens] },
      labels: { data: batch.labels, dims: [count] },
      positions: { data: batch.positions, dims: [batch.positions.length] },
      targets: { data: batch.targets, dims: [batch.targets.length] },
      shares: { data: batch.shares, dims: [batch.targets.length, count] },
    };
    if (this.#frozen === null) return { ...feeds, input_ids: { data: batch.ids, dims: [count, tokens] } };
    const data = await this.#activations(this.#frozen, split, rows, batch);
    const { width } = this.#options;
    const dims = this.#kind === 'pooled' ? [count, width] : [count, tokens, width];
    return { ...feeds, [this.#kind]: { data, dims } };
  }

  /** Computes and caches the frozen part for rows to come, the first ones first, while there is room; nothing where no part is frozen. */
  async warm(split: Split, rows: Int32Array, ms: number): Promise<void> {
    if (this.#frozen === null) return;
    const end = performance.now() + ms;
    const cold = rows.filter((row) => this.#caches[split].get(row) === undefined);
    // In the order of their lengths little is padding: of many, or of a few at a time, so that the first ones come first.
    const [limit, sorted] = ms > HURRY ? [FROZEN, 1024] : [HURRIED, 64];
    for (let at = 0; at < cold.length; at += sorted) {
      const some = cold.subarray(at, at + sorted);
      for (const chunk of this.#chunks(split, some, limit)) {
        // What finds no room would be computed again by each round that draws it.
        if (performance.now() >= end || this.#caches[split].full) return;
        await this.feeds(
          split,
          chunk.map((position) => some[position]!),
        );
      }
    }
  }

  #chunks(split: Split, rows: ArrayLike<number>, most: number): Int32Array[] {
    const { examples, tokens } = this.#options;
    return chunksByLength(examples[split], rows, { rows: most, tokens });
  }

  /** Padded like the batch; what lies in the padding is zero, and masked. */
  async #activations(
    frozen: Forward,
    split: Split,
    rows: ArrayLike<number>,
    batch: Batch,
  ): Promise<Float32Array> {
    const { width, examples } = this.#options;
    const cache = this.#caches[split];
    const stride = this.#kind === 'pooled' ? width : batch.tokens * width;
    const length = (i: number) =>
      this.#kind === 'pooled' ? width : examples[split].ids[rows[i]!]!.length * width;
    const data = new Float32Array(rows.length * stride);
    const missing: number[] = [];
    for (let i = 0; i < rows.length; i++) {
      const known = cache.get(rows[i]!);
      if (known) data.set(known, i * stride);
      else missing.push(i);
    }
    if (missing.length === 0) return data;
    const absent = missing.map((i) => rows[i]!);
    for (const chunk of this.#chunks(split, absent, FROZEN)) {
      const part = padBatch(
        examples[split],
        chunk.map((k) => absent[k]!),
        this.#options.padId,
      );
      const computed = await this.#compute(frozen, part);
      const from = this.#kind === 'pooled' ? width : part.tokens * width;
      for (const [n, k] of chunk.entries()) {
        const i = missing[k]!;
        const values = computed.subarray(n * from, n * from + length(i));
        data.set(values, i * stride);
        cache.put(rows[i]!, values);
      }
    }
    return data;
  }

  async #compute(frozen: Forward, { ids, mask, count, tokens }: Batch): Promise<Float32Array> {
    const dims = [count, tokens];
    const start = performance.now();
    const outputs = await frozen.run({
      input_ids: { data: ids, dims },
      attention_mask: { data: mask, dims },
    });
    this.frozenMs += performance.now() - start;
    return outputs[frozen.output]!;
  }

  async close(): Promise<void> {
    for (const cache of Object.values(this.#caches)) cache.clear();
    await this.#frozen?.close();
  }
}
