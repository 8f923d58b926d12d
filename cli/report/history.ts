/** A run's observations sorted out for drawing: curves, evaluations, people, events. Pure. */
import { type EvaluationPoint, type Observed, pool, type RoundObserved } from '../view/events.ts';

export interface Person {
  readonly name: string;
  readonly group: string;
  readonly probes: number;
  /** Rounds with at least one probe, and without any while it was in. */
  readonly took: number;
  readonly missed: number;
  /** First and last round with a probe; -1: none. */
  readonly first: number;
  readonly last: number;
  /** Per round of the run: its probes, 0 where it missed, -1 where it was not in. */
  readonly perRound: Int32Array;
}

export interface HistoryEvent {
  readonly round: number;
  readonly tone: 'info' | 'warning' | 'error';
  readonly text: string;
}

export interface History {
  /** Rounds that moved the state, in order. */
  readonly rounds: readonly RoundObserved[];
  /** One more than the highest round; what every horizontal axis covers. */
  readonly span: number;
  readonly people: readonly Person[];
  readonly evaluations: readonly EvaluationPoint[];
  readonly events: readonly HistoryEvent[];
  readonly mostProbes: number;
}

interface Draft {
  name: string;
  group: string;
  probes: number;
  took: number;
  missed: number;
  first: number;
  last: number;
  perRound: Int32Array;
}

export function gather(observed: readonly Observed[]): History {
  const rounds = observed.filter(
    (seen): seen is RoundObserved => seen.type === 'round' && seen.final !== true,
  );
  const span = rounds.reduce((most, seen) => Math.max(most, seen.round + 1), 0);
  const people = new Map<string, Draft>();
  const slots = new Map<number, Draft>();
  const events: HistoryEvent[] = [];
  const evaluations: EvaluationPoint[] = [];
  let at = 0;
  let mostProbes = 0;

  const draft = (name: string, group: string): Draft => {
    const key = JSON.stringify([name, group]);
    const known = people.get(key);
    if (known !== undefined) return known;
    const perRound = new Int32Array(span).fill(-1);
    const fresh = { name, group, probes: 0, took: 0, missed: 0, first: -1, last: -1, perRound };
    people.set(key, fresh);
    return fresh;
  };
  const nameOf = (slot: number): string => slots.get(slot)?.name ?? `slot ${slot}`;

  for (const seen of observed) {
    switch (seen.type) {
      case 'join':
        slots.set(seen.slot, draft(seen.name, seen.group));
        if (at > 0) events.push({ round: at, tone: 'info', text: `${seen.name} joined` });
        break;
      case 'leave':
        events.push({
          round: at,
          tone: seen.why === 'left' ? 'info' : 'warning',
          text: seen.why === 'left' ? `${nameOf(seen.slot)} left` : `${nameOf(seen.slot)} was lost`,
        });
        slots.delete(seen.slot);
        break;
      case 'dispute':
        events.push({
          round: seen.round,
          tone: 'error',
          text:
            seen.reason === 'bytes'
              ? `${nameOf(seen.slot)} disputes its bytes as ${seen.proposer} recorded them`
              : `${nameOf(seen.slot)} found another digest than ${seen.proposer} recorded`,
        });
        break;
      case 'divergence':
        events.push({
          round: seen.round,
          tone: 'error',
          text: `${nameOf(seen.slot)} diverged, first in ${seen.tensor}`,
        });
        break;
      case 'round': {
        for (const part of pool(seen.evaluations ?? [])) evaluations.push({ ...part, round: seen.round });
        if (seen.final === true) break;
        at = seen.round + 1;
        for (const member of seen.members) {
          if (!slots.has(member.slot)) slots.set(member.slot, draft(`slot ${member.slot}`, ''));
          take(slots.get(member.slot)!, seen.round, member.probes);
          mostProbes = Math.max(mostProbes, member.probes);
        }
        break;
      }
      default:
        break;
    }
  }
  return { rounds, span, people: [...people.values()], evaluations, events, mostProbes };
}

function take(person: Draft, round: number, probes: number): void {
  if (probes > 0) {
    person.probes += probes;
    person.took += 1;
    if (person.first < 0) person.first = round;
    person.last = round;
  } else person.missed += 1;
  // Two incarnations of one name may both stand in a round: what was done counts over what was missed.
  person.perRound[round] = Math.max(0, person.perRound[round]!) + Math.max(0, probes);
}
