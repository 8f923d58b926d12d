/** The view of a running job: drawn in place on a terminal, one line at a time anywhere else. */
import pc from 'picocolors';
import type { Observed, RunResult, ViewJob } from './events.ts';
import { renderResult } from './final.ts';
import { initial, update, type ViewModel } from './model.ts';
import { headerLine, plainEvent, plainProgress } from './plain.ts';
import type { Plan } from './plan.ts';
import { render } from './render.ts';
import { clip, printable } from './text.ts';
import { BlockWriter, PROCESS, type ProcessHooks, type Screen } from './writer.ts';

export interface View {
  observe(observed: Observed): void;
  /** A line that stays, above the live block. */
  print(text: string): void;
  /** The last frame, then the table of results; closes the view. */
  finish(result: RunResult): void;
  /** Gives the terminal back as it was; safe to call twice, and after `finish`. */
  close(): void;
}

export interface Clock {
  /** Milliseconds. */
  now(): number;
  every(milliseconds: number, call: () => void): () => void;
}

export const WALL_CLOCK: Clock = {
  now: () => performance.now(),
  every: (milliseconds, call) => {
    const timer = setInterval(call, milliseconds);
    // A view never keeps a process alive.
    timer.unref();
    return () => clearInterval(timer);
  },
};

export interface ViewOptions {
  readonly stream: Screen;
  /** Whether `stream` is a terminal that can move its cursor. */
  readonly isTTY: boolean;
  readonly color: boolean;
  readonly job: ViewJob;
  readonly plan: Plan;
  readonly clock?: Clock;
  readonly hooks?: ProcessHooks;
}

const FRAME_MS = 100;
const PLAIN_MS = 5000;
const PLAIN_WIDTH = 100;

/** What a terminal is capable of, by the usual variables (no-color.org; FORCE_COLOR as Node takes it). */
export function capabilities(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): { readonly isTTY: boolean; readonly color: boolean } {
  const terminal = stream.isTTY === true && env.TERM !== 'dumb';
  const forced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '' && env.FORCE_COLOR !== '0';
  const refused = env.NO_COLOR !== undefined && env.NO_COLOR !== '';
  return { isTTY: terminal, color: !refused && (terminal || forced) };
}

export function createView(options: ViewOptions): View {
  return options.isTTY ? new TerminalView(options) : new PlainView(options);
}

class TerminalView implements View {
  readonly #options: ViewOptions;
  readonly #clock: Clock;
  readonly #paint;
  readonly #writer: BlockWriter;
  readonly #stop: () => void;
  #model: ViewModel;
  #closed = false;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#clock = options.clock ?? WALL_CLOCK;
    this.#paint = pc.createColors(options.color);
    this.#writer = new BlockWriter(options.stream, options.hooks ?? PROCESS);
    this.#model = initial(options.job, options.plan, this.#clock.now());
    this.#draw();
    // The clock alone draws: however fast rounds come, there are ten frames a second, and a stalled run still ticks.
    this.#stop = this.#clock.every(FRAME_MS, () => this.#draw());
  }

  observe(observed: Observed): void {
    this.#model = update(this.#model, observed, this.#clock.now());
  }

  print(text: string): void {
    if (this.#closed) this.#options.stream.write(`${text}\n`);
    else this.#writer.print(text.split('\n').map((line) => clip(printable(line), this.#width())));
  }

  finish(result: RunResult): void {
    if (this.#closed) return;
    this.#draw();
    this.close();
    const lines = renderResult(result, this.#width(), this.#paint);
    this.#options.stream.write(`\n${lines.join('\n')}\n`);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
    this.#writer.close();
  }

  #width(): number {
    return Math.max(1, this.#options.stream.columns || 80);
  }

  #draw(): void {
    if (this.#closed) return;
    // One row stays free: a block as tall as the screen would scroll with its last newline.
    const height = Math.max(1, (this.#options.stream.rows ?? 24) - 1);
    this.#writer.draw(render(this.#model, this.#width(), height, this.#clock.now(), this.#paint));
  }
}

class PlainView implements View {
  readonly #options: ViewOptions;
  readonly #clock: Clock;
  readonly #stop: () => void;
  #model: ViewModel;
  #line = '';
  #closed = false;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.#clock = options.clock ?? WALL_CLOCK;
    this.#model = initial(options.job, options.plan, this.#clock.now());
    this.#write(headerLine(this.#model));
    this.#stop = this.#clock.every(PLAIN_MS, () => this.#tick());
  }

  observe(observed: Observed): void {
    const before = this.#model;
    this.#model = update(before, observed, this.#clock.now());
    const phase = this.#model.phase?.text;
    if (phase !== undefined && phase !== before.phase?.text) this.#tick();
    const last = before.events.at(-1);
    const fresh = last === undefined ? 0 : this.#model.events.lastIndexOf(last) + 1;
    for (const event of this.#model.events.slice(fresh)) this.#write(plainEvent(this.#model, event));
  }

  print(text: string): void {
    for (const line of text.split('\n')) this.#write(printable(line));
  }

  finish(result: RunResult): void {
    if (this.#closed) return;
    this.#tick();
    this.close();
    const lines = renderResult(result, PLAIN_WIDTH, pc.createColors(this.#options.color));
    this.#options.stream.write(`\n${lines.join('\n')}\n`);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
  }

  #tick(): void {
    const line = plainProgress(this.#model, this.#clock.now());
    // Nothing new, not even the time: nothing to say.
    if (line !== this.#line) this.#write(line);
    this.#line = line;
  }

  #write(line: string): void {
    this.#options.stream.write(`${line}\n`);
  }
}
