/**
 * How long a run takes whose workers are all killed and replaced at once, in virtual time: by others, and by the same again.
 * 30 rounds of one probe of 20 ms; killed at 0.4 s, replaced 0.9 s later. The same each time.
 *
 *     node bench/replaced.ts
 */
import { PLAIN_CHOICES } from '../test/simulation/job.ts';
import type { Trouble } from '../test/simulation/schedule.ts';
import { World } from '../test/simulation/world.ts';

const [KILLED, LATER, PACE] = [400, 900, 20];
const job = { ...PLAIN_CHOICES, rounds: [30], probes: 1 };

/** Virtual seconds until the end record. */
async function secondsOf(workers: number, same: boolean): Promise<number> {
  const troubles = Array.from({ length: workers }, (_, worker): Trouble[] => {
    const killed = { kind: 'kill', at: KILLED, worker } as const;
    return same
      ? [{ ...killed, restartAfter: LATER }]
      : [
          { ...killed, restartAfter: null },
          { kind: 'join', at: KILLED + LATER },
        ];
  }).flat();
  const paces = new Array<number>(workers).fill(PACE);
  const world = new World({ seed: 1, job, workers, paces, troubles }, null);
  let end: number | null = null;
  world.trace = (_, event) => {
    if (event.type === 'entry' && event.record.kind === 'end') end ??= world.time.now;
  };
  while (end === null && (await world.step()));
  if (end === null) throw new Error(`${workers} workers did not come to an end`);
  return end / 1000;
}

console.log('workers   others s   the same s');
for (const workers of [12, 32, 64]) {
  const [others, same] = [await secondsOf(workers, false), await secondsOf(workers, true)];
  console.log(`${workers}`.padEnd(10) + others.toFixed(1).padEnd(11) + same.toFixed(1));
}
