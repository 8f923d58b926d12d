/** `npm test`: types, lint, then every test that this machine can run; says at the end what was skipped and why. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const node = process.execPath;

function step(title: string, command: string, args: readonly string[]): void {
  console.log(`\n== ${title}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`${title}: failed`);
    process.exit(1);
  }
}

const bin = (name: string) => join(root, 'node_modules', '.bin', name);
step('types', bin('tsc'), ['--noEmit']);
step('lint and format', bin('biome'), ['check', '--error-on-warnings']);

console.log('\n== tests');
const scratch = mkdtempSync(join(tmpdir(), 'onebyte-test-'));
const tap = join(scratch, 'tests.tap');
const patterns = process.argv.length > 2 ? process.argv.slice(2) : ['test/**/*.test.ts'];
const { status } = spawnSync(
  node,
  [
    '--test',
    '--test-concurrency=2',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=tap',
    `--test-reporter-destination=${tap}`,
    ...patterns,
  ],
  { cwd: root, stdio: 'inherit' },
);
const skipped = readFileSync(tap, 'utf8')
  .split('\n')
  .flatMap((line) => /^\s*ok \d+ - (.*) # SKIP ?(.*)$/.exec(line)?.slice(1).join(': ') ?? []);
rmSync(scratch, { recursive: true });
console.log(skipped.length === 0 ? '\nNothing was skipped.' : `\nSkipped:\n  ${skipped.join('\n  ')}`);
process.exit(status ?? 1);
