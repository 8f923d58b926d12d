import { VirtualTime } from '../../worker/log/virtual-time.ts';
import type { JobChoices } from './job.ts';

/** One thing that goes wrong, or that somebody does, at a virtual moment. Workers are named by their place. */
export type Trouble = { readonly at: number } & (
  | {
      /** Every link, until `until`. */
      readonly kind: 'network';
      readonly until: number;
      readonly drop: number;
      readonly duplicate: number;
      readonly delay: number;
      readonly reorder: boolean;
    }
  | { readonly kind: 'partition'; readonly until: number; readonly side: readonly number[] }
  /** One direction between a worker and the log. */
  | {
      readonly kind: 'deaf' | 'mute' | 'acknowledgements';
      readonly until: number;
      readonly worker: number;
    }
  | { readonly kind: 'kill'; readonly worker: number; readonly restartAfter: number | null }
  | { readonly kind: 'pause'; readonly worker: number; readonly until: number }
  | { readonly kind: 'slow'; readonly worker: number; readonly factor: number }
  | { readonly kind: 'join' }
  | { readonly kind: 'leave'; readonly worker: number }
  | { readonly kind: 'loseTail'; readonly count: number }
);

export interface Schedule {
  readonly seed: number;
  readonly job: JobChoices;
  readonly workers: number;
  /** Virtual milliseconds of a probe, by worker. */
  readonly paces: readonly number[];
  readonly troubles: readonly Trouble[];
}

/** When all troubles are over. */
export const HEALED = 8000;

/** The schedule of a seed. */
export function scheduleOf(seed: number): Schedule {
  const source = new VirtualTime(seed);
  for (let i = 0; i < 4; i++) source.random();
  const below = (n: number) => Math.floor(source.random() * n);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const workers = 1 + below(5);
  const job: JobChoices = {
    rounds: pick([[4], [3, 2], [8], [2, 2, 2]]),
    probes: 1 + below(3),
    momentum: pick([0, 0, 0, 0.9]),
    seedPool: pick([0, 0, 8]),
    evaluateEvery: pick([0, 2, 3]),
    digestEvery: pick([0, 1, 2, 3]),
    forwards: pick([0, 0, 0, 40]),
    codec: pick(['log8', 'log8', 'sign1']),
  };
  const even = below(3) > 0;
  const paces = Array.from({ length: workers }, () => (even ? 20 : pick([5, 20, 20, 60, 200])));
  const troubles = Array.from({ length: below(8) }, () => trouble(below, pick, workers));
  return { seed, job, workers, paces, troubles: troubles.sort((a, b) => a.at - b.at) };
}

function trouble(
  below: (n: number) => number,
  pick: <T>(items: readonly T[]) => T,
  workers: number,
): Trouble {
  const at = below(1200);
  const until = Math.min(HEALED, at + pick([30, 150, 600, 2500]) + below(200));
  const worker = below(workers + 1);
  const kind = pick([
    'network',
    'network',
    'partition',
    'deaf',
    'mute',
    'acknowledgements',
    'kill',
    'kill',
    'pause',
    'slow',
    'join',
    'leave',
    'loseTail',
    'loseTail',
  ] as const);
  switch (kind) {
    case 'network':
      return {
        kind,
        at,
        until,
        drop: pick([0, 0.1, 0.4]),
        duplicate: pick([0, 0.3]),
        delay: pick([5, 40, 300]),
        reorder: below(2) === 0,
      };
    case 'partition':
      return {
        kind,
        at,
        until,
        side: Array.from({ length: workers }, (_, i) => i).filter(() => below(2) === 0),
      };
    case 'deaf':
    case 'mute':
    case 'acknowledgements':
    case 'pause':
      return { kind, at, until, worker };
    case 'kill':
      return { kind, at, worker, restartAfter: pick([null, 10, 300, 2000]) };
    case 'slow':
      return { kind, at, worker, factor: pick([3, 30]) };
    case 'join':
      return { kind, at };
    case 'leave':
      return { kind, at, worker };
    case 'loseTail':
      return { kind, at, count: pick([1, 1, 2, 3, 5]) };
  }
}

/** Whether nothing goes wrong and nobody is slower than others: then no round may be anything but perfect. */
export function isCalm({ troubles, paces }: Schedule): boolean {
  return troubles.length === 0 && paces.every((pace) => pace === paces[0]);
}

export function describe({ seed, job, workers, paces, troubles }: Schedule): string {
  const lines = troubles.map((item) => `  ${JSON.stringify(item)}`);
  return [
    `seed ${seed}: ${workers} workers, paces ${paces.join(' ')}, job ${JSON.stringify(job)}`,
    ...lines,
  ].join('\n');
}
