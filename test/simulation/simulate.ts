import { openEnvelope } from '../../worker/journal/envelope.ts';
import { decodeProgress } from '../../worker/journal/progress.ts';
import type { Effect, Event } from '../../worker/round/event.ts';
import type { Mutant } from './mutants.ts';
import { HEALED, type Schedule, scheduleOf } from './schedule.ts';
import { verdict } from './verdict.ts';
import { World } from './world.ts';

export interface Result {
  readonly failure: string | null;
  /** Virtual milliseconds after the troubles were over that the run took to end. */
  readonly overtime: number;
  readonly entries: number;
  readonly events: number;
}

/** Virtual milliseconds after the troubles within which every run ends. */
const PATIENCE = 180_000;
/** Events that no run needs. */
const MAX_EVENTS = 20_000;

/** Runs one schedule to its end and judges it. The same schedule always gives the same result. */
export async function simulate(
  schedule: Schedule,
  mutant: Mutant | null = null,
  trace?: (line: string) => void,
): Promise<Result> {
  const world = new World(schedule, mutant);
  if (trace !== undefined)
    world.trace = (id, event, effects) => trace(line(world.time.now, id, event, effects));
  let events = 0;
  for (; events < MAX_EVENTS && world.witness.failure === null; events++) {
    if (world.over) {
      if (isEnded(world)) break;
      // Everybody left, or died, before the end: the run waits for somebody new.
      world.ensureOne();
    }
    if (world.time.now > HEALED + PATIENCE || !(await world.step())) break;
  }
  const failure = verdict(world);
  for (const { driver } of world.processes) driver.abort(new Error('over'));
  return {
    failure,
    overtime: Math.max(0, world.time.now - HEALED),
    entries: world.log.entries.length,
    events,
  };
}

function isEnded({ log }: World): boolean {
  const last = log.entries.at(-1);
  return last !== undefined && decodeProgress(openEnvelope(last.data).summaryBytes).end !== null;
}

export interface Failure {
  readonly seed: number;
  readonly why: string;
  /** With as few troubles, workers and rounds as still make it fail. */
  readonly shrunk: Schedule;
  /** The last steps of the shrunk schedule. */
  readonly trace: readonly string[];
}

/** Steps of a trace that are shown. */
const TRACE = 60;
const HIDDEN = new Set(['ledger', 'roundChain', 'job', 'tag', 'run']);

function line(now: number, id: string, event: Event, effects: readonly Effect[]): string {
  const short = (value: Event | Effect) =>
    JSON.stringify(value, (key, part) =>
      HIDDEN.has(key) ? undefined : part instanceof Uint8Array ? Buffer.from(part).toString('hex') : part,
    );
  const what = effects.map((effect) => `\n      ${short(effect)}`).join('');
  return `${now.toFixed(1).padStart(9)} ${id.slice(-2)} ${short(event)}${what}`;
}

/** Takes things away one by one while what is left still fails. */
export async function shrink(schedule: Schedule, mutant: Mutant | null = null): Promise<Schedule> {
  let smallest = schedule;
  for (let shrunk = true; shrunk; ) {
    shrunk = false;
    for (const candidate of smaller(smallest)) {
      if ((await simulate(candidate, mutant)).failure === null) continue;
      smallest = candidate;
      shrunk = true;
      break;
    }
  }
  return smallest;
}

function* smaller(schedule: Schedule): Generator<Schedule> {
  const { troubles, workers, job } = schedule;
  for (let i = troubles.length - 1; i >= 0; i--) yield { ...schedule, troubles: troubles.toSpliced(i, 1) };
  if (workers > 1) yield { ...schedule, workers: workers - 1, paces: schedule.paces.slice(0, -1) };
  if (job.rounds.length > 1) yield { ...schedule, job: { ...job, rounds: [job.rounds[0]!] } };
  for (const changes of [
    { momentum: 0 },
    { seedPool: 0 },
    { evaluateEvery: 0 },
    { digestEvery: 0 },
    { forwards: 0 },
    { codec: 'log8' as const },
    { probes: 1 },
  ])
    if (Object.entries(changes).some(([name, value]) => job[name as keyof typeof changes] !== value))
      yield { ...schedule, job: { ...job, ...changes } };
}

/** Schedules `from`, `from + 1`, ...; the first failure, shrunk, ends it. */
export async function search(
  from: number,
  count: number,
  mutant: Mutant | null = null,
  onProgress: (done: number, result: Result) => void = () => {},
): Promise<Failure | null> {
  for (let done = 0; done < count; done++) {
    const schedule = scheduleOf(from + done);
    const result = await simulate(schedule, mutant);
    onProgress(done + 1, result);
    if (result.failure !== null) {
      const shrunk = await shrink(schedule, mutant);
      const trace: string[] = [];
      const { failure } = await simulate(shrunk, mutant, (text) => trace.push(text));
      trace.push(`=> ${failure}`);
      return { seed: schedule.seed, why: result.failure, shrunk, trace: trace.slice(-TRACE) };
    }
  }
  return null;
}
