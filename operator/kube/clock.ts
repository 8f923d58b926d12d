import { setTimeout as sleep } from 'node:timers/promises';

/** Time as the runtime sees it, passed in so that tests can decide it. */
export interface Clock {
  /** Wall time in milliseconds since 1970; may jump. Only for what others read. */
  now(): number;
  /** Milliseconds on a clock that never jumps or goes back. All waiting is measured by it. */
  monotonic(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, call: () => void): () => void;
  /** Resolves after `ms`, or at once when the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

// Node fires a longer timer at once instead of late.
const longestTimer = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(Math.max(0, ms), longestTimer));
    return () => clearTimeout(timer);
  },
  async sleep(ms, signal) {
    const delay = Math.min(Math.max(0, ms), longestTimer);
    await sleep(delay, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      if (!signal?.aborted) throw error;
    });
  },
};

/** A number in [0, 1), like Math.random. */
export type Random = () => number;

/** RFC 3339 with six decimals: the API server refuses Lease times with three. */
export function microTime(ms: number): string {
  const whole = Math.floor(ms);
  const micros = Math.floor((ms - whole) * 1_000);
  return new Date(whole).toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`);
}

export interface BackoffOptions {
  readonly firstMs: number;
  readonly longestMs: number;
}

/** Delay before attempt n + 1 (n = 0, 1, ...): doubles up to a bound, then half of it is drawn at random. */
export function backoffMs(attempt: number, { firstMs, longestMs }: BackoffOptions, random: Random): number {
  const full = Math.min(longestMs, firstMs * 2 ** Math.min(attempt, 50));
  return full * (0.5 + random() / 2);
}
