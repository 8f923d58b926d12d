/** `npm run simulate -- --schedules N --seed S [--mutant NAME] [--json]`: whole runs under seeded faults, in virtual time. */
import { parseArgs } from 'node:util';
import { MUTANTS, type Mutant } from './mutants.ts';
import { describe } from './schedule.ts';
import { search } from './simulate.ts';

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    mutant: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

function whole(name: 'schedules' | 'seed'): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} ${values[name]}: must be a whole number`);
  process.exit(2);
}

const [schedules, seed] = [whole('schedules'), whole('seed')];
const { mutant, json } = values;
if (mutant !== undefined && !(mutant in MUTANTS)) {
  console.error(`--mutant ${mutant}: must be one of ${Object.keys(MUTANTS).join(', ')}`);
  process.exit(2);
}

const totals = { events: 0, entries: 0, longest: 0 };
const start = performance.now();
let shown = start;
const failure = await search(seed, schedules, (mutant as Mutant | undefined) ?? null, (done, result) => {
  totals.events += result.events;
  totals.entries += result.entries;
  totals.longest = Math.max(totals.longest, result.overtime);
  if (json || performance.now() - shown < 10_000) return;
  shown = performance.now();
  console.error(`${done} of ${schedules} schedules`);
});
const seconds = (performance.now() - start) / 1000;

if (json) console.log(JSON.stringify({ schedules, seed, seconds, ...totals, failure }));
else if (failure === null) {
  const rate = (schedules / seconds).toFixed(0);
  console.log(`${schedules} schedules from seed ${seed}: 0 failures, ${seconds.toFixed(1)} s (${rate}/s)`);
  console.log(`${totals.entries} log entries, ${totals.events} events`);
  console.log(`slowest end after the last fault: ${(totals.longest / 1000).toFixed(1)} virtual s`);
} else {
  console.log(`seed ${failure.seed} fails: ${failure.why}`);
  console.log(`shrunk, it still fails as follows:\n${describe(failure.shrunk)}\n${failure.trace.join('\n')}`);
}
process.exitCode = failure === null ? 0 : 1;
