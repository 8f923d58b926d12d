import { cosine } from '../grid/doubles.ts';
import type { RuleSpec } from '../journal/job.ts';

/**
 * Factor on the learning rate in round `index` of a stage of `rounds`. Replicated state: only + - * / and our own
 * cosine, so every machine gets the same bits.
 */
export function scheduleFactor(
  rule: Pick<RuleSpec, 'schedule' | 'warmupRounds'>,
  index: number,
  rounds: number,
): number {
  const { warmupRounds } = rule;
  if (index < warmupRounds) return (index + 1) / (warmupRounds + 1);
  const done = (index - warmupRounds) / Math.max(1, rounds - warmupRounds);
  switch (rule.schedule) {
    case 'constant':
      return 1;
    case 'linear':
      return 1 - done;
    case 'cosine':
      return 0.5 * (1 + cosine(Math.PI * done));
  }
}
