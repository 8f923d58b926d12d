import type { PlacedTensor } from '../../grid/layout.ts';
import type { State } from '../../grid/state.ts';
import { chunksByLength } from '../../task/batch.ts';
import type { Outcomes } from '../../task/metrics.ts';
import { type Aborted, check } from '../evaluator.ts';
import { radiusQuanta } from './estimate.ts';
import { type EvaluationOptions, outcomesOf } from './outcomes.ts';
import { type Point, type Runner, trainingLimit } from './runner.ts';
import type { Feed } from './session.ts';
import type { Split } from './source.ts';
import { Stopwatch } from './stopwatch.ts';

/** In its session what is trained is an input with a leading probes axis. */
export interface GroupedOptions extends EvaluationOptions {
  readonly state: State;
  /** Layout indices of the trained tensors, and the graph's names for them. */
  readonly trained: readonly { readonly index: number; readonly input: string }[];
  readonly radius: number;
}

/** Most points of one call: bounds the scratch memory. */
export const MAX_GROUPS = 64;

/** Scratch memory for the perturbed copies of one call. */
export function groupedScratchBytes(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + MAX_GROUPS * size * 4 + 64, 0);
}

/** Points are evaluated together: each is a perturbed copy of the small trained tensors, one group of the call. */
export class GroupedRunner implements Runner {
  readonly #options: GroupedOptions;
  readonly #trained: readonly {
    readonly tensor: PlacedTensor;
    readonly input: string;
    readonly scratch: number;
  }[];
  readonly #directions = new Stopwatch();

  constructor(options: GroupedOptions) {
    this.#options = options;
    const { state } = options;
    this.#trained = options.trained.map(({ index, input }) => {
      const tensor = state.tensors[index]!;
      return { tensor, input, scratch: state.scratch(MAX_GROUPS * tensor.size * 4) };
    });
  }

  get directionMs(): number {
    return this.#directions.ms;
  }

  async losses(points: readonly Point[], rows: Int32Array, aborted?: Aborted): Promise<Float64Array> {
    const { session, source, examples, chunking } = this.#options;
    const sums = new Float64Array(points.length);
    for (const chunk of chunksByLength(examples.train, rows, trainingLimit(chunking))) {
      check(aborted);
      const feeds = await source.feeds(
        'train',
        chunk.map((position) => rows[position]!),
      );
      for (const { from, to } of blocks(
        points.length,
        this.#groups(chunk.length, feeds.attention_mask!.dims[1]!),
      )) {
        check(aborted);
        const perturbed = this.#directions.time(() => this.#perturbed(points.slice(from, to)));
        const { loss } = await session.run({ ...feeds, ...perturbed });
        addRows(sums.subarray(from, to), loss!, chunk.length);
      }
    }
    return sums;
  }

  outcomes(split: Split, rows: Int32Array, aborted?: Aborted): Promise<Outcomes> {
    return outcomesOf(this.#options, this.#centre(), split, rows, aborted);
  }

  #groups(rows: number, length: number): number {
    const { examples, tokens = Number.POSITIVE_INFINITY } = this.#options.chunking;
    const fitting = Math.min(Math.floor(examples / rows), Math.floor(tokens / (rows * length)));
    return Math.max(1, Math.min(MAX_GROUPS, fitting));
  }

  /** The state itself, as a single group, where it lies. */
  #centre(): Record<string, Feed> {
    const { state } = this.#options;
    return Object.fromEntries(
      this.#trained.map(({ tensor, input }) => [
        input,
        { data: state.view(tensor.index), dims: [1, ...tensor.shape] },
      ]),
    );
  }

  /** Writes a copy of every trained tensor for each point. */
  #perturbed(points: readonly Point[]): Record<string, Feed> {
    const { state, radius } = this.#options;
    const feeds: Record<string, Feed> = {};
    for (const { tensor, input, scratch } of this.#trained) {
      const quanta = radiusQuanta(radius, state.exponent(tensor.index));
      for (const [group, { seed, sign }] of points.entries()) {
        state.writePerturbed(scratch + group * tensor.size * 4, tensor.index, seed, sign * quanta);
      }
      const data = new Float32Array(state.memory.buffer, scratch, points.length * tensor.size);
      feeds[input] = { data, dims: [points.length, ...tensor.shape] };
    }
    return feeds;
  }

  async close(): Promise<void> {
    await this.#options.session.close();
  }
}

/** Cuts 0..count-1 into as few blocks of at most `size` as there can be, of nearly equal size. */
export function blocks(count: number, size: number): { from: number; to: number }[] {
  const number = Math.ceil(count / size);
  return Array.from({ length: number }, (_, i) => ({
    from: Math.floor((i * count) / number),
    to: Math.floor(((i + 1) * count) / number),
  }));
}

/** Adds [groups, rows] to sums [groups], in doubles and in row order. */
export function addRows(sums: Float64Array, values: Float32Array, rows: number): void {
  for (let g = 0; g < sums.length; g++) for (let i = 0; i < rows; i++) sums[g]! += values[g * rows + i]!;
}
