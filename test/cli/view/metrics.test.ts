import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RoundObserved } from '../../../cli/view/events.ts';
import { MetricsWriter, metricsLine } from '../../../cli/view/metrics.ts';
import { samplePlan, sampleRun } from '../sample.ts';

const folder = await mkdtemp(join(tmpdir(), 'metrics-'));
after(() => rm(folder, { recursive: true }));

const rounds = sampleRun(60).filter((seen): seen is RoundObserved => seen.type === 'round');
const plan = samplePlan(60);

test('a line holds the documented fields', () => {
  assert.deepEqual(metricsLine(plan, { ...rounds[50]!, loss: Number.NaN, elapsed: 250 }, 3), {
    round: 50,
    stage: 1,
    seconds: 3.25,
    loss: null,
    workers: 3,
    present: 3,
    probes: 36,
    forwards: 39,
    examples: 624,
    recordBytes: 43,
    evaluations: {
      validation: {
        loss: rounds[50]!.evaluations!.reduce((sum, part) => sum + part.lossSum, 0) / 750,
        accuracy: rounds[50]!.evaluations!.reduce((sum, part) => sum + part.correct, 0) / 750,
        examples: 750,
      },
    },
  });
});

test('every round is a line, there before the run ends, and a resumed run goes on below', async () => {
  const path = join(folder, 'metrics.jsonl');
  const first = new MetricsWriter(path, plan);
  for (const seen of rounds.slice(0, 20)) first.write(seen);
  while ((await readFile(path, 'utf8').catch(() => '')).split('\n').length < 21) await sleep(2);
  assert.equal(await first.close(), null);
  const second = new MetricsWriter(path, plan, { append: true, seconds: 10 });
  for (const seen of rounds.slice(20)) second.write(seen);
  assert.equal(await second.close(), null);
  const lines = (await readFile(path, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map((line) => line.round),
    rounds.map((seen) => seen.round),
  );
  for (const [i, line] of lines.entries()) assert.ok(i === 0 || line.seconds > lines[i - 1].seconds);
});

test('a file that cannot be written does not end the run: closing tells the error', async () => {
  const writer = new MetricsWriter(folder, plan);
  for (const seen of rounds) writer.write(seen);
  const error = await writer.close();
  assert.equal((error as NodeJS.ErrnoException).code, 'EISDIR');
});
