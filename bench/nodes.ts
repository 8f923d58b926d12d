/**
 * The whole suite on real nodes, again and again: whether a test ever fails, what it takes, and how far apart its
 * figures lie.
 *
 *     node bench/nodes.ts [--repeat 10] [--keep FOLDER]
 *     node bench/nodes.ts LOG...
 *
 * A run that fails is the last one. Each run's output is kept in a file; the second form prints those of earlier runs.
 * Nothing else should use this machine meanwhile.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { isWhole, readSuite, type Suite, spreadOf } from './lib/suite-log.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { repeat: { type: 'string', default: '10' }, keep: { type: 'string' } },
});

const logs = positionals.length > 0 ? positionals : await runs(Number(values.repeat));
const suites = logs.map((path) => readSuite(readFileSync(path, 'utf8')));
console.log(`\n${suites.length} runs, in minutes: ${suites.map(minutes).join(', ')}`);
console.log(`tests passed: ${suites.map(({ passed, tests }) => `${passed} of ${tests}`).join(', ')}`);
console.log('\nleast / middle / most of each figure that all whole runs printed');
for (const { test, lines } of spreadOf(suites.filter(isWhole)))
  console.log([`\n${test}`, ...lines].join('\n  '));
process.exitCode = suites.length > 0 && suites.every(isWhole) ? 0 : 1;

async function runs(most: number): Promise<string[]> {
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'onebyte-nodes-'));
  mkdirSync(folder, { recursive: true });
  const paths: string[] = [];
  for (let run = 1; run <= most; run++) {
    const path = resolve(folder, `${run}.log`);
    const load = loadavg()[0]!.toFixed(1);
    await logged(path);
    paths.push(path);
    const suite = readSuite(readFileSync(path, 'utf8'));
    console.log(`${path}: ${suite.passed} of ${suite.tests}, ${minutes(suite)} min (load before: ${load})`);
    if (!isWhole(suite)) break;
  }
  return paths;
}

async function logged(path: string): Promise<void> {
  const child = spawn('npm', ['run', 'test:e2e'], {
    cwd: resolve(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await finished(child.stdout.pipe(createWriteStream(path)));
}

function minutes({ seconds }: Suite): string {
  return (seconds / 60).toFixed(1);
}
