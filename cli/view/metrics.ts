/** `metrics.jsonl`: one JSON object per round (and one of the final evaluation), written as the run goes, for plots and other tools. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { pool, type RoundObserved } from './events.ts';
import { type Plan, stageAt } from './plan.ts';

/** One line. A number that nobody measured is null, for JSON has no NaN. */
export interface MetricsLine {
  readonly round: number;
  /** Index of the stage of the plan, from 0. */
  readonly stage: number;
  /** Seconds since the run's first record, by the proposers' clocks. */
  readonly seconds: number;
  /** Mean training loss of the round. */
  readonly loss: number | null;
  /** Active members; those of them with at least one byte in the record; all of their bytes. */
  readonly workers: number;
  readonly present: number;
  readonly probes: number;
  /** Forward passes of one batch each, and the examples that went through them. */
  readonly forwards: number;
  readonly examples: number;
  /** Bytes of the record (its body, as the journal stores it); null where not known. */
  readonly recordBytes: number | null;
  /** Per split that was evaluated at the round's start state. */
  readonly evaluations?: Readonly<
    Record<string, { loss: number | null; accuracy: number | null; examples: number }>
  >;
}

const orNull = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** `startSeconds`: the sum of `elapsed` over the rounds before. */
export function metricsLine(plan: Plan, seen: RoundObserved, startSeconds: number): MetricsLine {
  const ran = seen.members.filter((member) => member.probes > 0);
  const pooled = pool(seen.evaluations ?? []);
  return {
    round: seen.round,
    stage: stageAt(plan, seen.round),
    seconds: Math.round(startSeconds * 1000 + seen.elapsed) / 1000,
    loss: orNull(seen.loss),
    workers: seen.members.length,
    present: ran.length,
    probes: ran.reduce((sum, member) => sum + member.probes, 0),
    forwards: seen.forwards,
    examples: seen.examples,
    recordBytes: seen.recordBytes ?? null,
    ...(pooled.length === 0
      ? {}
      : {
          evaluations: Object.fromEntries(
            pooled.map(({ split, loss, accuracy, count }) => [
              split,
              { loss: orNull(loss), accuracy: orNull(accuracy), examples: count },
            ]),
          ),
        }),
  };
}

export class MetricsWriter {
  readonly #plan: Plan;
  readonly #stream: WriteStream;
  #seconds = 0;
  #failure: Error | null = null;

  /** Begins `path` anew; with `append`, goes on with a run that is resumed (`seconds`: its time so far). */
  constructor(path: string, plan: Plan, { append = false, seconds = 0 } = {}) {
    this.#plan = plan;
    this.#seconds = seconds;
    this.#stream = createWriteStream(path, { flags: append ? 'a' : 'w' });
    // A full disk must not end the run over a by-product; `close` reports it.
    this.#stream.on('error', (error) => {
      this.#failure ??= error;
    });
  }

  /** Hands the line to the system at once; nothing is held back until the end. */
  write(seen: RoundObserved): void {
    const line = metricsLine(this.#plan, seen, this.#seconds);
    this.#seconds = line.seconds;
    if (this.#failure === null) this.#stream.write(`${JSON.stringify(line)}\n`);
  }

  /** Resolves to the first error that writing met, or null. */
  async close(): Promise<Error | null> {
    if (this.#failure !== null) return this.#failure;
    this.#stream.end();
    try {
      await finished(this.#stream);
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    }
    return this.#failure;
  }
}
