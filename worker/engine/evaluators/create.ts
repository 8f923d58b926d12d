import { OnebyteError } from '../../errors.ts';
import type { State } from '../../grid/state.ts';
import type { JobSpec } from '../../journal/job.ts';
import { forwardsOf } from '../../journal/plan.ts';
import type { ModelFolder } from '../../model/folder.ts';
import { unitsOf } from '../../task/batch.ts';
import type { Examples } from '../../task/examples.ts';
import type { Outcomes } from '../../task/metrics.ts';
import type { Basis } from '../basis.ts';
import type { Aborted, Evaluator, ProbeResult, Sums } from '../evaluator.ts';
import type { EnginePlan } from '../plan.ts';
import { oneSided, twoSided } from './estimate.ts';
import { sumsOf } from './outcomes.ts';
import { type Chunking, DECODER_TOKENS, type Point, type Runner } from './runner.ts';
import { SPLITS, type Split } from './source.ts';
import { openStage, type StageSource } from './stage.ts';

export { scratchBytes } from './stage.ts';

export interface EvaluatorOptions {
  readonly job: JobSpec;
  readonly folder: ModelFolder;
  readonly state: State;
  readonly plan: EnginePlan;
  /** The decoded basis artifact; null where the plan needs none. */
  readonly basis: Basis | null;
  readonly examples: Readonly<Record<Split, Examples>>;
  /** Threads of the forward pass. */
  readonly threads: number;
  /** For cached activations of the frozen part of the model. */
  readonly memoryBudgetBytes: number;
  readonly chunking?: Chunking;
}

/** Two cores are busy from 16 examples on, and fall out of their cache beyond 64 (`bench/engine.ts`). */
const CHUNKING: Chunking = { rows: 16, examples: 64 };

const DECODER_CHUNKING: Chunking = { ...CHUNKING, tokens: DECODER_TOKENS };

/** @throws OnebyteError ENGINE_FAILED when the runtime cannot be used */
export async function createEvaluator(options: EvaluatorOptions): Promise<Evaluator> {
  return new StageEvaluator(options);
}

class StageEvaluator implements Evaluator {
  readonly rows: Readonly<Record<Split, number>>;
  readonly #options: EvaluatorOptions;
  #stage = -1;
  #runner: Runner | null = null;
  #source: StageSource | null = null;
  /** One call at a time: all of them use the same scratch memory, or move the state. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: EvaluatorOptions) {
    this.#options = options;
    const rows = SPLITS.map((split) => [split, options.examples[split].ids.length] as const);
    this.rows = Object.fromEntries(rows) as Record<Split, number>;
  }

  enter(stage: number, epoch: number): Promise<void> {
    return this.#alone(async () => {
      await this.#leave();
      const {
        folder,
        chunking = folder.model.generates ? DECODER_CHUNKING : CHUNKING,
        ...rest
      } = this.#options;
      const options = { folder, ...rest };
      const last = this.#source;
      this.#source = null;
      const opened = await openStage({ ...options, chunking }, stage, epoch, last);
      this.#runner = opened.runner;
      this.#source = opened.source;
      this.#stage = stage;
    });
  }

  warm(rows: Int32Array, ms: number): Promise<void> {
    return this.#alone(async () => {
      this.#entered();
      await this.#source?.rows.warm('train', rows, ms);
    });
  }

  probe(seeds: Uint32Array, rows: Int32Array, aborted?: Aborted): Promise<ProbeResult> {
    return this.#alone(async () => {
      const start = performance.now();
      const runner = this.#entered();
      const { sides, radius } = this.#options.plan.stages[this.#stage]!.estimator;
      const count = seeds.length / 4;
      if (rows.length === 0 || count === 0) return nothing(count);
      const directions = Array.from({ length: count }, (_, p) => seeds.slice(4 * p, 4 * p + 4));
      const points: Point[] = directions.flatMap((seed) => {
        const plus = { seed, sign: 1 } as const;
        return sides === 2 ? [plus, { seed, sign: -1 } as const] : [plus];
      });
      if (sides === 1) points.unshift({ seed: new Uint32Array(4), sign: 0 });
      const before = runner.directionMs;
      const source = this.#source?.rows;
      const frozenBefore = source?.frozenMs ?? 0;
      const sums = await runner.losses(points, rows, aborted);
      const units = unitsOf(this.#options.examples.train, rows);
      const estimate =
        sides === 2
          ? twoSided(every(sums, 0), every(sums, 1), units, radius)
          : oneSided(sums[0]!, sums.slice(1), units, radius);
      const forwards = forwardsOf({ sides }, count);
      return {
        ...estimate,
        lossCount: units,
        forwards,
        examples: forwards * rows.length,
        seconds: (performance.now() - start) / 1000,
        directionSeconds: (runner.directionMs - before) / 1000,
        frozenSeconds: ((source?.frozenMs ?? 0) - frozenBefore) / 1000,
      };
    });
  }

  async evaluate(split: Split, rows: Int32Array, aborted?: Aborted): Promise<Sums> {
    return sumsOf(split, this.#options.examples[split], await this.outcomes(split, rows, aborted));
  }

  outcomes(split: Split, rows: Int32Array, aborted?: Aborted): Promise<Outcomes> {
    return this.#alone(() => this.#entered().outcomes(split, rows, aborted));
  }

  close(): Promise<void> {
    return this.#alone(async () => {
      await this.#leave();
      await this.#source?.rows.close();
      this.#source = null;
    });
  }

  async #leave(): Promise<void> {
    await this.#runner?.close();
    this.#runner = null;
  }

  #entered(): Runner {
    if (this.#runner === null) throw new OnebyteError('INTERNAL', 'no stage has been entered');
    return this.#runner;
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}

function every(sums: Float64Array, first: 0 | 1): Float64Array {
  return sums.filter((_, i) => i % 2 === first);
}

/** All probes abstain. */
function nothing(count: number): ProbeResult {
  const values = new Float64Array(count).fill(Number.NaN);
  const times = { seconds: 0, directionSeconds: 0, frozenSeconds: 0 };
  return { values, lossSum: 0, lossCount: 0, forwards: 0, examples: 0, ...times };
}
