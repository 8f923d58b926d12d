/** The processes of a run's workers, watched from outside. */
import { readdirSync, readFileSync } from 'node:fs';
import { type Pages, pagesOf } from './memory.ts';

/** What was last seen of a process. */
export interface Watched {
  /** Most resident bytes at any time. */
  readonly peak: number;
  /** Resident bytes while the run was in its rounds, one for each look. */
  readonly resident: readonly number[];
  /** By kinds of pages, at the look in the rounds that saw most of them. */
  readonly pages: Pages | null;
  /** Seconds of the processor, of all its threads. */
  readonly seconds: number;
}

/** Ticks of the processor's clock in a second, as `/proc/PID/stat` counts them. */
const TICKS = 100;
/** Looks at all mappings, which take long, are this many times rarer than those at the sums. */
const RARELY = 5;

/** Seconds of the processor that a process has had, with all its threads. */
export function processorOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  // Those of the user and of the system, the twelfth and thirteenth from the state on.
  return (Number(stat[11]) + Number(stat[12])) / TICKS;
}

const all = ({ code, weights, anonymous }: Pages) => code + weights + anonymous;

export class WatchedWorkers {
  readonly #parent: number;
  readonly #seen = new Map<number, Watched>();
  #looks = 0;

  constructor(parent: number) {
    this.#parent = parent;
  }

  get all(): readonly Watched[] {
    return [...this.#seen.values()];
  }

  /** Ends all that were seen and are still there. */
  kill(): void {
    for (const pid of workersOf(this.#parent)) process.kill(pid, 'SIGKILL');
  }

  /** @param inRounds whether the run has begun its rounds */
  look(inRounds: boolean): void {
    this.#looks++;
    for (const pid of workersOf(this.#parent)) {
      try {
        this.#seen.set(pid, this.#watch(pid, inRounds, this.#seen.get(pid)));
      } catch {
        // It has just ended: what was seen last holds.
      }
    }
  }

  #watch(pid: number, inRounds: boolean, before?: Watched): Watched {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1]) * 1024;
    const deep = inRounds && this.#looks % RARELY === 0 ? pagesOf(pid) : null;
    const most = before?.pages ?? null;
    return {
      peak: field('VmHWM'),
      resident: [...(before?.resident ?? []), ...(inRounds ? [field('VmRSS')] : [])],
      pages: deep !== null && (most === null || all(deep) > all(most)) ? deep : most,
      seconds: processorOf(pid),
    };
  }
}

/** Child processes that run a worker. */
function workersOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const [, rest] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
        if (Number(rest!.split(' ')[1]) !== parent) return false;
        return /local-worker\.js\0|main\.js\0worker\0/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
      } catch {
        return false;
      }
    });
}
