import type { State } from '../../grid/state.ts';
import { chunksByLength } from '../../task/batch.ts';
import type { Outcomes } from '../../task/metrics.ts';
import { type Aborted, check } from '../evaluator.ts';
import { radiusQuanta } from './estimate.ts';
import { addRows } from './grouped.ts';
import { type EvaluationOptions, outcomesOf } from './outcomes.ts';
import { evaluationLimit, type Point, type Runner } from './runner.ts';
import type { Feed } from './session.ts';
import type { Split } from './source.ts';
import { Stopwatch } from './stopwatch.ts';

/** In its session the trained weights are inputs of their own shape, those of the head with a probes axis of 1. */
export interface InPlaceOptions extends EvaluationOptions {
  readonly state: State;
  readonly trained: readonly {
    readonly index: number;
    readonly input: string;
    readonly dims: readonly number[];
  }[];
  readonly radius: number;
}

/** Points are evaluated one after the other: the state is moved there in place, and moved back exactly. */
export class InPlaceRunner implements Runner {
  readonly #options: InPlaceOptions;
  readonly #tensors: readonly number[];
  /** The trained tensors where they lie; they are moved, these views are not. */
  readonly #weights: Readonly<Record<string, Feed>>;
  readonly #directions = new Stopwatch();

  constructor(options: InPlaceOptions) {
    this.#options = options;
    this.#tensors = options.trained.map(({ index }) => index);
    this.#weights = Object.fromEntries(
      options.trained.map(({ index, input, dims }) => [input, { data: options.state.view(index), dims }]),
    );
  }

  get directionMs(): number {
    return this.#directions.ms;
  }

  async losses(points: readonly Point[], rows: Int32Array, aborted?: Aborted): Promise<Float64Array> {
    const { session, source, examples, chunking } = this.#options;
    const chunks: { rows: number; feeds: Record<string, Feed> }[] = [];
    for (const chunk of chunksByLength(examples.train, rows, evaluationLimit(chunking))) {
      check(aborted);
      const feeds = await source.feeds(
        'train',
        chunk.map((position) => rows[position]!),
      );
      chunks.push({ rows: chunk.length, feeds: { ...feeds, ...this.#weights } });
    }
    const sums = new Float64Array(points.length);
    const walk = new Walk(this.#options.state, this.#tensors, this.#options.radius);
    try {
      for (const [i, point] of points.entries()) {
        this.#directions.time(() => walk.to(point));
        for (const chunk of chunks) {
          check(aborted);
          const { loss } = await session.run(chunk.feeds);
          addRows(sums.subarray(i, i + 1), loss!, chunk.rows);
        }
      }
    } finally {
      this.#directions.time(() => walk.home());
    }
    return sums;
  }

  outcomes(split: Split, rows: Int32Array, aborted?: Aborted): Promise<Outcomes> {
    return outcomesOf(this.#options, this.#weights, split, rows, aborted);
  }

  async close(): Promise<void> {
    await this.#options.session.close();
  }
}

/** Moves the state from point to point: +r to -r of one direction is a single step of -2 r. */
class Walk {
  readonly #state: State;
  readonly #tensors: readonly number[];
  readonly #quanta: Int32Array;
  #at: Point | null = null;

  constructor(state: State, tensors: readonly number[], radius: number) {
    this.#state = state;
    this.#tensors = tensors;
    this.#quanta = Int32Array.from(tensors, (index) => radiusQuanta(radius, state.exponent(index)));
  }

  to(point: Point): void {
    if (this.#at !== null && !same(this.#at.seed, point.seed)) this.home();
    this.#step(point.seed, point.sign - (this.#at?.sign ?? 0));
    this.#at = point.sign === 0 ? null : point;
  }

  home(): void {
    if (this.#at !== null) this.#step(this.#at.seed, -this.#at.sign);
    this.#at = null;
  }

  #step(seed: Uint32Array, times: number): void {
    if (times !== 0)
      this.#state.perturb(
        this.#tensors,
        seed,
        this.#quanta.map((n) => n * times),
      );
  }
}

function same(a: Uint32Array, b: Uint32Array): boolean {
  return a.every((word, i) => word === b[i]);
}
