/** Where the time goes from an applied job to its first round, as its workers' own logs tell it. */
import { type Lab, TEAM } from './lab.ts';

/** A line that pino wrote. */
interface Line {
  readonly time: number;
  readonly msg: string;
}

/** What a worker said until it took part, with seconds since `from` (by `Date.now()`) before each. */
export async function timelineOf(lab: Lab, pod: string, from: number): Promise<string> {
  const text = await lab.kubectl('-n', TEAM, 'logs', pod);
  const lines = text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Line] : []));
  const end = lines.findIndex(({ msg }) => msg === 'joined');
  const told = lines.slice(0, end + 1).map(({ time, msg }) => `${((time - from) / 1000).toFixed(1)} ${msg}`);
  return `${pod}, seconds after the job was applied: ${told.join('; ')}`;
}
