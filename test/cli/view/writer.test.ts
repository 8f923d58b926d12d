import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { columns } from '../../../cli/view/text.ts';
import { BlockWriter, type ProcessHooks } from '../../../cli/view/writer.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal reads control characters
const CODES = /(\u001b\[\??\d*[A-Za-z]|\n|\r)/;

/** As much of a terminal as the writer uses: a grid with scrolling, a cursor, and reflow when the width changes. */
class Terminal {
  columns: number;
  rows: number;
  cursorShown = true;
  /** Everything that was ever on the screen, from the first line on; the last `rows` of it are visible. */
  lines: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(width: number, height: number) {
    this.columns = width;
    this.rows = height;
  }

  write(text: string): void {
    for (const part of text.split(CODES)) {
      if (part === '\n') {
        this.#row += 1;
        this.#column = 0;
        if (this.#row === this.lines.length) this.lines.push('');
      } else if (part === '\r') this.#column = 0;
      else if (part.endsWith('A') && part.startsWith('\x1b')) {
        const top = Math.max(0, this.lines.length - this.rows);
        this.#row = Math.max(top, this.#row - Number(part.slice(2, -1)));
      } else if (part === '\x1b[K') this.#erase();
      else if (part === '\x1b[J') {
        this.#erase();
        this.lines.length = this.#row + 1;
      } else if (part === '\x1b[?25l') this.cursorShown = false;
      else if (part === '\x1b[?25h') this.cursorShown = true;
      else {
        const line = this.lines[this.#row]!.padEnd(this.#column);
        this.lines[this.#row] = line.slice(0, this.#column) + part + line.slice(this.#column + part.length);
        this.#column += part.length;
      }
    }
  }

  #erase(): void {
    this.lines[this.#row] = this.lines[this.#row]!.slice(0, this.#column);
  }

  /** Narrows or widens: what no longer fits wraps, as most terminals do. */
  resize(width: number): void {
    const wrapped: string[] = [];
    let row = 0;
    this.lines.forEach((line, at) => {
      if (at === this.#row) row = wrapped.length;
      if (line === '') wrapped.push('');
      for (let i = 0; i < line.length; i += width) wrapped.push(line.slice(i, i + width));
    });
    this.#row = row;
    this.lines = wrapped;
    this.columns = width;
  }
}

class Hooks extends EventEmitter implements ProcessHooks {
  raised: string[] = [];
  raise(signal: NodeJS.Signals): void {
    this.raised.push(signal);
  }
}

const text = fc.stringMatching(/^[a-z]{1,12}$/);
const block = fc.array(text, { minLength: 1, maxLength: 6 });

test('after any draws and prints the screen shows what was printed, then the latest block', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.record({ draw: block }),
          fc.record({ print: fc.array(text, { minLength: 1, maxLength: 3 }) }),
        ),
        {
          minLength: 1,
        },
      ),
      (steps) => {
        const terminal = new Terminal(20, 10);
        const writer = new BlockWriter(terminal, new Hooks());
        const printed: string[] = [];
        let drawn: readonly string[] = [];
        for (const step of steps) {
          if ('draw' in step) writer.draw((drawn = step.draw));
          else {
            writer.print(step.print);
            printed.push(...step.print);
          }
        }
        writer.close();
        assert.deepEqual(terminal.lines, [...printed, ...drawn, '']);
        assert.ok(terminal.cursorShown);
      },
    ),
  );
});

test('a block that wrapped when the screen became narrow is replaced whole', () => {
  const terminal = new Terminal(20, 12);
  const writer = new BlockWriter(terminal, new Hooks());
  writer.print(['kept']);
  writer.draw(['a'.repeat(20), 'b'.repeat(20)]);
  terminal.resize(8);
  writer.draw(['c', 'd']);
  assert.deepEqual(terminal.lines, ['kept', 'c', 'd', '']);
});

test('the cursor is hidden while the block is live and comes back on close, exit and a lone signal', () => {
  for (const way of ['close', 'exit', 'SIGINT', 'SIGTERM', 'SIGHUP']) {
    const terminal = new Terminal(20, 10);
    const hooks = new Hooks();
    const writer = new BlockWriter(terminal, hooks);
    writer.draw(['one']);
    assert.ok(!terminal.cursorShown);
    if (way === 'close') writer.close();
    else hooks.emit(way);
    assert.ok(terminal.cursorShown, way);
    assert.deepEqual(hooks.raised, way.startsWith('SIG') ? [way] : []);
    assert.deepEqual(hooks.eventNames(), []);
  }
});

test('Ctrl-Z gives the cursor to the shell, and going on takes a fresh block below what the shell wrote', () => {
  const terminal = new Terminal(20, 10);
  const hooks = new Hooks();
  const writer = new BlockWriter(terminal, hooks);
  writer.draw(['one', 'two']);
  hooks.emit('SIGTSTP');
  assert.ok(terminal.cursorShown);
  assert.deepEqual(hooks.raised, ['SIGSTOP']);
  terminal.write('$ fg\n');
  hooks.emit('SIGCONT');
  writer.draw(['three']);
  assert.deepEqual(terminal.lines, ['one', 'two', '$ fg', 'three', '']);
  assert.ok(!terminal.cursorShown);
  writer.close();
});

test('a signal that somebody else handles leaves the block drawing', () => {
  const terminal = new Terminal(20, 10);
  const hooks = new Hooks();
  hooks.on('SIGINT', () => undefined);
  const writer = new BlockWriter(terminal, hooks);
  writer.draw(['one']);
  hooks.emit('SIGINT');
  assert.ok(!terminal.cursorShown);
  assert.deepEqual(hooks.raised, []);
  writer.close();
  assert.equal(hooks.listenerCount('SIGINT'), 1);
});

test('a block wider than it should be still counts the rows it takes', () => {
  const terminal = new Terminal(10, 10);
  const writer = new BlockWriter(terminal, new Hooks());
  writer.draw(['x'.repeat(10)]);
  writer.draw(['y']);
  assert.equal(columns(terminal.lines[0]!), 1);
  assert.equal(terminal.lines.length, 2);
});

const CHILD = `
import { createView } from ${JSON.stringify(fileURLToPath(new URL('../../../cli/view/live.ts', import.meta.url)))};
const view = createView({
  stream: process.stdout, isTTY: true, color: false,
  job: { name: 'x', model: 'hf://a/b' }, plan: { stages: [], rounds: 0, mayEndSooner: false },
});
view.print('ready');
if (process.argv[1] === 'throw') setTimeout(() => { throw new Error('boom'); }, 10);
setInterval(() => {}, 1000);
`;

async function run(
  argument: string,
  signal: NodeJS.Signals | null,
): Promise<{ out: string; ended: unknown[] }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, argument], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
    if (signal !== null && out.includes('ready')) child.kill(signal);
  });
  const ended = await once(child, 'close');
  return { out, ended };
}

test('a real process that is interrupted shows the cursor again and dies of the signal', async () => {
  const { out, ended } = await run('wait', 'SIGINT');
  assert.ok(out.includes('\x1b[?25l'));
  assert.ok(out.endsWith('\x1b[?25h'));
  assert.deepEqual(ended, [null, 'SIGINT']);
});

test('a real process that ends by an error shows the cursor again', async () => {
  const { out, ended } = await run('throw', null);
  assert.ok(out.endsWith('\x1b[?25h'));
  assert.deepEqual(ended, [1, null]);
});
