/** Before and after, per split and group. Pure. */
import { type EvaluationPoint, type Observed, pool, type Score, type Split } from './events.ts';

interface ScoreDraft {
  readonly split: Split;
  readonly group: string | undefined;
  readonly points: EvaluationPoint[];
}

const ORDER: readonly Split[] = ['train', 'validation', 'test'];

/**
 * One row per split and per group of it: the split's first evaluation against its last. A group that was away from one
 * of the two has no number there (NaN), rather than one of another round.
 */
export function scoresOf(observed: readonly Observed[]): Score[] {
  const groups = new Map<number, string>();
  const drafts = new Map<string, ScoreDraft>();
  const add = (group: string | undefined, point: EvaluationPoint): void => {
    const key = JSON.stringify([point.split, group ?? null]);
    const draft = drafts.get(key) ?? { split: point.split, group, points: [] };
    draft.points.push(point);
    drafts.set(key, draft);
  };
  for (const seen of observed) {
    if (seen.type === 'join') groups.set(seen.slot, seen.group);
    if (seen.type !== 'round' || seen.evaluations === undefined) continue;
    for (const part of pool(seen.evaluations)) add(undefined, { ...part, round: seen.round });
    const named = new Set(seen.evaluations.map((entry) => groups.get(entry.slot) ?? ''));
    for (const group of named) {
      if (group === '') continue;
      const mine = seen.evaluations.filter((entry) => groups.get(entry.slot) === group);
      for (const part of pool(mine)) add(group, { ...part, round: seen.round });
    }
  }
  const wholes = [...drafts.values()].filter((draft) => draft.group === undefined);
  wholes.sort((a, b) => ORDER.indexOf(a.split) - ORDER.indexOf(b.split));
  return wholes.flatMap((whole) => {
    const parts = [...drafts.values()].filter(
      (draft) => draft.split === whole.split && draft.group !== undefined,
    );
    const ends = [whole.points[0]!.round, whole.points.at(-1)!.round] as const;
    return [whole, ...(parts.length > 1 ? parts : [])].map((draft) => score(draft, ...ends));
  });
}

function score({ split, group, points }: ScoreDraft, first: number, last: number): Score {
  const before = points.find((point) => point.round === first);
  const after = points.findLast((point) => point.round === last);
  return {
    split,
    ...(group === undefined ? {} : { group }),
    examples: (after ?? before)?.count ?? 0,
    loss: { before: before?.loss ?? Number.NaN, after: after?.loss ?? Number.NaN },
    metric: {
      name: 'accuracy',
      before: before?.accuracy ?? Number.NaN,
      after: after?.accuracy ?? Number.NaN,
    },
  };
}
