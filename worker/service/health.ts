/** What a worker tells those who ask whether it is well. Pure. */

export interface Vitals {
  /** What the worker is doing before it can join; null once it runs. */
  readonly starting: string | null;
  /** Milliseconds that the engine has been busy with one call; 0: idle. */
  readonly engineBusyMs: number;
  /** How many it may be. */
  readonly engineBudgetMs: number;
  /** Milliseconds since the engine's last answer; 0 where it works. */
  readonly engineIdleMs: number;
  readonly connected: boolean;
  readonly member: boolean;
  /** Milliseconds since the last record. */
  readonly silentMs: number;
  readonly leaving: boolean;
}

export interface Verdict {
  readonly ok: boolean;
  /** For people. */
  readonly text: string;
}

/**
 * Silence of the log after which a member no longer counts as stepping: so long, or so many times what its own part took,
 * from when that was done. Where a stage starts with minutes of frozen activations, nobody is lost while all compute them.
 */
export const STEPPING_MS = 60_000;
export const STEPPING_TIMES = 3;

/** Whether the program is up: its engine is open and it reads the log. */
export function startedUp({ starting }: Vitals): Verdict {
  return starting === null ? good('started') : bad(starting);
}

/** Whether the worker is worth keeping: false when only a restart helps. A lost connection is not such a case. */
export function alive({ engineBusyMs, engineBudgetMs }: Vitals): Verdict {
  const busy = `the engine has worked on one call for ${seconds(engineBusyMs)}`;
  if (engineBusyMs > engineBudgetMs) return bad(`${busy}, at most ${seconds(engineBudgetMs)} are allowed`);
  return good(engineBusyMs > 0 ? busy : 'the engine is idle');
}

/** Whether the worker takes part: it has joined, and the run moves. */
export function ready(vitals: Vitals): Verdict {
  if (vitals.starting !== null) return bad(vitals.starting);
  if (vitals.leaving) return bad('leaving');
  if (!vitals.connected) return bad('not connected to NATS');
  if (!vitals.member) return bad('not a member of the run yet');
  if (waits(vitals)) return bad(`no record for ${seconds(vitals.silentMs)}`);
  const well = alive(vitals);
  return well.ok ? good('stepping') : well;
}

function waits({ silentMs, engineIdleMs }: Vitals): boolean {
  const waited = Math.min(silentMs, engineIdleMs);
  return waited > Math.max(STEPPING_MS, STEPPING_TIMES * (silentMs - waited));
}

function good(text: string): Verdict {
  return { ok: true, text };
}

function bad(text: string): Verdict {
  return { ok: false, text };
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
