import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { type Clock, capabilities, createView } from '../../../cli/view/live.ts';
import { JOB, samplePlan, sampleResult, sampleRun } from '../sample.ts';

/** Time that passes when told to. */
class HandClock implements Clock {
  #now = 0;
  readonly #timers: { readonly step: number; readonly call: () => void; due: number; live: boolean }[] = [];
  now(): number {
    return this.#now;
  }
  every(step: number, call: () => void): () => void {
    const timer = { step, call, due: this.#now + step, live: true };
    this.#timers.push(timer);
    return () => {
      timer.live = false;
    };
  }
  pass(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.live && timer.due <= end)
        .sort((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.#now = next.due;
      next.due += next.step;
      next.call();
    }
    this.#now = end;
  }
}

class Hooks extends EventEmitter {
  raise(): void {
    throw new Error('nothing may raise a signal here');
  }
}

function opened(isTTY: boolean, columns = 80) {
  const writes: string[] = [];
  const clock = new HandClock();
  const hooks = new Hooks();
  const stream = { write: (text: string) => writes.push(text), columns, rows: 24 };
  const view = createView({ stream, isTTY, color: false, job: JOB, plan: samplePlan(300), clock, hooks });
  return { view, writes, clock, hooks };
}

test('however fast rounds come, a terminal is redrawn ten times a second', () => {
  const { view, writes, clock } = opened(true);
  for (const seen of sampleRun(300)) {
    view.observe(seen);
    clock.pass(5);
  }
  // 1.5 s and a little: 15 frames and the first one.
  assert.ok(writes.length >= 15 && writes.length <= 17, `${writes.length} frames`);
  view.close();
});

test('a terminal that does not say how wide it is has 80 columns', () => {
  const [known, unknown] = [80, 0].map((columns) => {
    const { view, writes } = opened(true, columns);
    view.finish(sampleResult(300));
    return writes;
  });
  assert.ok(known!.join('').includes('sentiment'));
  assert.deepEqual(unknown, known);
});

test('what is no terminal gets no control characters: a header, events as they come, a line every few seconds', () => {
  const { view, writes, clock } = opened(false);
  for (const seen of sampleRun(300)) {
    view.observe(seen);
    clock.pass(70);
  }
  view.finish(sampleResult(300));
  const lines = writes.join('').split('\n');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
  assert.doesNotMatch(lines.join(' '), /[\x00-\x1f]/);
  assert.match(lines[0]!, /^sentiment: all-MiniLM-L6-v2, 300 rounds: head x 180, then subspace/);
  assert.equal(lines.filter((line) => line.includes('tweets-0 (tweets) joined')).length, 0);
  assert.equal(lines.filter((line) => line.endsWith('tweets-0 joined')).length, 1);
  assert.equal(lines.filter((line) => /^\d:\d\d round \d+\/300 /.test(line)).length, 5);
  assert.ok(lines.some((line) => line.includes(sampleResult(300).digest)));
});

test('every event is a line exactly once, even when there are more than the view keeps', () => {
  const { view, writes } = opened(false);
  for (let i = 0; i < 200; i += 1) view.observe({ type: 'notice', level: 'info', text: `notice ${i}` });
  const lines = writes
    .join('')
    .split('\n')
    .filter((line) => line.includes('notice'));
  assert.deepEqual(
    lines.map((line) => line.replace('0:00 ', '')),
    Array.from({ length: 200 }, (_, i) => `notice ${i}`),
  );
});

test('a closed view draws no more, listens to nothing, and may be closed again', () => {
  const { view, writes, clock, hooks } = opened(true);
  view.finish(sampleResult(300));
  const count = writes.length;
  view.close();
  clock.pass(10_000);
  view.finish(sampleResult(300));
  assert.equal(writes.length, count);
  assert.deepEqual(hooks.eventNames(), []);
});

test('colours and cursor movement follow the terminal and the usual variables', () => {
  const terminal = { isTTY: true };
  assert.deepEqual(capabilities(terminal, { TERM: 'xterm' }), { isTTY: true, color: true });
  assert.deepEqual(capabilities(terminal, { TERM: 'xterm', NO_COLOR: '1' }), { isTTY: true, color: false });
  assert.deepEqual(capabilities(terminal, { TERM: 'dumb' }), { isTTY: false, color: false });
  assert.deepEqual(capabilities({}, { TERM: 'xterm' }), { isTTY: false, color: false });
  assert.deepEqual(capabilities({}, { TERM: 'xterm', FORCE_COLOR: '1' }), { isTTY: false, color: true });
});
