import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveBack } from '../../worker/engine/give-back.ts';
import { afterReading, openTokenizer } from '../../worker/model/tokenizer.ts';
import { thinProcess } from '../../worker/process-settings.ts';
import { memberTokenizer } from '../model/tiny-llama.ts';

test('once all text is read, a tokenizer knows its own tokens and the words that are still asked for', () => {
  const tokenizer = openTokenizer(memberTokenizer(), {});
  const after = afterReading(tokenizer, ['a', 'the']);
  for (const word of ['a', 'the']) assert.deepEqual(after.continued(word), tokenizer.continued(word));
  assert.equal(after.padId, tokenizer.padId);
  assert.deepEqual(after.opening, tokenizer.opening);
  assert.throws(() => after.continued('another'), { code: 'INTERNAL' });
  assert.throws(() => after.encode('a', 8), { code: 'INTERNAL' });
});

test('what is left of a tokenizer does not keep the whole of it in memory', async () => {
  const read = () => {
    const tokenizer = openTokenizer(memberTokenizer(), {});
    return { whole: new WeakRef(tokenizer), after: afterReading(tokenizer, ['a']) };
  };
  const { whole, after } = read();
  await sleep(1);
  giveBack();
  await sleep(1);
  giveBack();
  assert.equal(whole.deref(), undefined);
  assert.equal(after.continued('a').length, 1);
});

test('what nothing refers to is collected when it is given back', async () => {
  const gone = new WeakRef(new Float32Array(1 << 20));
  // A reference that has just been made or read lives until the turn ends.
  await sleep(1);
  giveBack();
  await sleep(1);
  giveBack();
  assert.equal(gone.deref(), undefined);
});

test('a thin process has the settings, unless its user says otherwise, and keeps what it compiled', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'onebyte-thin-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, 'program.mjs');
  const asked = ['MALLOC_TRIM_THRESHOLD_', 'MALLOC_ARENA_MAX'];
  writeFileSync(
    program,
    `process.send([process.execArgv, ...${JSON.stringify(asked)}.map((name) => process.env[name])]);`,
  );
  const child = fork(program, [], thinProcess({ ...process.env, MALLOC_ARENA_MAX: '5' }, folder, []));
  const [told] = await once(child, 'message');
  assert.deepEqual(told, [['--max-semi-space-size=1'], '65536', '5']);
  assert.equal(thinProcess({}, folder, [], false).env.NODE_COMPILE_CACHE, undefined);
  await once(child, 'exit');
  assert.notEqual(readdirSync(join(folder, 'compiled')).length, 0);
});
