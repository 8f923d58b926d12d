/** The one place that writes to a terminal: redraws a block of lines in place. */
import { endBy, listenersTo } from '../first-process.ts';
import { columns } from './text.ts';

export interface Screen {
  write(text: string): unknown;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

/** What of a process the writer listens to, so that no way out leaves the terminal without a cursor. */
export interface ProcessHooks {
  on(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
  listenerCount(event: string): number;
  /** Ends the process, or stops it, the way the signal would have. */
  raise(signal: NodeJS.Signals): void;
}

export const PROCESS: ProcessHooks = {
  on: (event, listener) => process.on(event, listener),
  off: (event, listener) => process.off(event, listener),
  listenerCount: listenersTo,
  // The first process cannot be stopped, and must not end instead.
  raise: (signal) => (signal === 'SIGSTOP' ? process.kill(process.pid, signal) : endBy(signal)),
};

const HIDE = '\x1b[?25l';
const SHOW = '\x1b[?25h';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

export class BlockWriter {
  readonly #screen: Screen;
  readonly #hooks: ProcessHooks;
  readonly #handlers: readonly (readonly [string, () => void])[];
  #drawn: readonly string[] = [];
  #open = false;

  constructor(screen: Screen, hooks: ProcessHooks = PROCESS) {
    this.#screen = screen;
    this.#hooks = hooks;
    this.#handlers = [
      ['exit', () => this.close()],
      ['SIGTSTP', () => this.#pause()],
      ['SIGCONT', () => this.#resume()],
      ...SIGNALS.map((signal) => [signal, () => this.#interrupted(signal)] as const),
    ];
  }

  /** Replaces the block by `lines`, none wider than the screen. */
  draw(lines: readonly string[]): void {
    let text = this.#up();
    if (!this.#open) {
      this.#open = true;
      for (const [event, handler] of this.#handlers) this.#hooks.on(event, handler);
      text += HIDE;
    }
    // Each line ends by erasing what a longer one left there; what lies below goes at the end. One write, no flicker.
    text += lines.map((line) => `${line}${ERASE_LINE}\n`).join('') + ERASE_BELOW;
    this.#drawn = lines;
    this.#screen.write(text);
  }

  /** Writes `lines` above the block, where they stay. */
  print(lines: readonly string[]): void {
    const block = this.#drawn;
    const text = this.#up() + lines.map((line) => `${line}${ERASE_LINE}\n`).join('');
    this.#screen.write(
      text + block.map((line) => `${line}${ERASE_LINE}\n`).join('') + (this.#open ? ERASE_BELOW : ''),
    );
  }

  /** Leaves the block as it stands (or takes it away) and gives the cursor back. Safe to call twice. */
  close({ erase = false }: { readonly erase?: boolean } = {}): void {
    if (!this.#open) return;
    this.#screen.write((erase ? this.#up() + ERASE_BELOW : '') + SHOW);
    this.#open = false;
    this.#drawn = [];
    for (const [event, handler] of this.#handlers) this.#hooks.off(event, handler);
  }

  /** To the start of the block. A screen that became narrower has wrapped the lines that no longer fit. */
  #up(): string {
    const width = Math.max(1, this.#screen.columns || 80);
    let rows = 0;
    for (const line of this.#drawn) rows += Math.max(1, Math.ceil(columns(line) / width));
    // What scrolled out of the top can no longer be reached.
    const reachable = Math.min(rows, Math.max(0, (this.#screen.rows ?? 24) - 1));
    return reachable === 0 ? '' : `\x1b[${reachable}A\r`;
  }

  /** Ctrl-Z: the shell that comes to the front needs its cursor. */
  #pause(): void {
    if (this.#hooks.listenerCount('SIGTSTP') > 1) return;
    this.#screen.write(SHOW);
    this.#hooks.raise('SIGSTOP');
  }

  /** After a stop (Ctrl-Z) the shell has written below the block: begin a new one there. */
  #resume(): void {
    if (!this.#open) return;
    this.#drawn = [];
    this.#screen.write(HIDE);
  }

  #interrupted(signal: NodeJS.Signals): void {
    // Somebody else handles it (a run that ends in good order goes on drawing): only a lone listener must act.
    if (this.#hooks.listenerCount(signal) > 1) return;
    this.close();
    this.#hooks.raise(signal);
  }
}
