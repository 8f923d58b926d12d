/** A made-up run of any length with all that a real one shows: two stages, a late joiner, a straggler, a leaver. */

import type { Observed, RoundObserved, RunResult, ViewJob } from '../../cli/view/events.ts';
import type { Plan } from '../../cli/view/plan.ts';
import { scoresOf } from '../../cli/view/scores.ts';
import type { Evaluation } from '../../worker/journal/index.ts';
import { forwardsOf } from '../../worker/journal/index.ts';

export const JOB: ViewJob = { name: 'sentiment', model: 'hf://sentence-transformers/all-MiniLM-L6-v2' };

export function samplePlan(rounds: number): Plan {
  const head = Math.floor(rounds * 0.6);
  return {
    stages: [
      { label: 'head', first: 0, rounds: head },
      { label: 'subspace rank 16, layers 4-5', first: head, rounds: rounds - head },
    ],
    rounds,
    mayEndSooner: false,
  };
}

/** Repeatable noise in -1..1. */
function noise(n: number): number {
  const mixed = Math.imul(n + 0x9e3779b9, 0x85ebca6b) ^ ((n * 7919) >>> 3);
  return (Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) >>> 0) / 0x80000000 - 1;
}

const NAMES = ['movies', 'products', 'news', 'tweets'];

export function sampleLoss(round: number, rounds: number): number {
  return 0.44 + 0.253 * Math.exp((-6 * round) / rounds) + 0.02 * noise(round);
}

/** The observations of rounds `0..rounds - 1` of a plan of `rounds` rounds. */
export function sampleRun(rounds: number, evaluateEvery = 50): Observed[] {
  const seen: Observed[] = [{ type: 'model', weights: 22_713_216, trained: [770, 393_984] }];
  const late = Math.floor(rounds * 0.3);
  const away = Math.floor(rounds * 0.7);
  for (let slot = 0; slot < 3; slot += 1) {
    seen.push({ type: 'join', slot, name: `${NAMES[slot]}-0`, group: NAMES[slot]! });
  }
  for (let round = 0; round < rounds; round += 1) {
    if (round === late) seen.push({ type: 'join', slot: 3, name: 'tweets-0', group: 'tweets' });
    if (round === away) seen.push({ type: 'leave', slot: 1, why: 'left' });
    seen.push(sampleRound(round, rounds, evaluateEvery, late, away));
  }
  seen.push({
    type: 'round',
    round: rounds,
    elapsed: 900,
    loss: Number.NaN,
    members: [],
    payloadBytes: 0,
    forwards: 0,
    examples: 0,
    final: true,
    evaluations: sampleEvaluations(rounds, rounds, [0, 2, 3]),
  });
  return seen;
}

function sampleRound(
  round: number,
  rounds: number,
  every: number,
  late: number,
  away: number,
): RoundObserved {
  const slots = [0, 1, 2, 3].filter((slot) => (slot !== 3 || round >= late) && (slot !== 1 || round < away));
  const members = slots.map((slot) => {
    const straggles = slot === 2 && noise(round * 31 + 7) > 0.86;
    return { slot, probes: straggles ? 0 : slot === 3 ? 4 : 16 };
  });
  const sides = round < Math.floor(rounds * 0.6) ? 2 : 1;
  const forwards = members.reduce((sum, member) => sum + forwardsOf({ sides }, member.probes), 0);
  return {
    type: 'round',
    round,
    elapsed: 70 + Math.round(20 * noise(round * 5)),
    loss: sampleLoss(round, rounds),
    members,
    payloadBytes: members.reduce((sum, member) => sum + member.probes, 0),
    forwards,
    examples: forwards * (round < Math.floor(rounds * 0.6) ? 64 : 16),
    recordBytes: members.reduce((sum, member) => sum + member.probes, 0) + 7,
    evaluations: round % every === 0 ? sampleEvaluations(round, rounds, slots) : [],
  };
}

/** Validation, and before and after the run the test split too. */
function sampleEvaluations(round: number, rounds: number, slots: readonly number[]): Evaluation[] {
  const accuracy = 0.84 - 0.34 * Math.exp((-5 * round) / rounds) + 0.01 * noise(round * 3);
  const splits =
    round === 0 || round === rounds ? (['validation', 'test'] as const) : (['validation'] as const);
  return splits.flatMap((split) =>
    slots.map((slot) => ({
      split,
      slot,
      count: 250,
      lossSum: 250 * (sampleLoss(round, rounds) + (split === 'test' ? 0.02 : 0.01) + 0.004 * slot),
      correct: Math.round(250 * (accuracy - 0.008 * slot)),
    })),
  );
}

export function sampleResult(rounds: number): RunResult {
  let payload = 0;
  let forwards = 0;
  let examples = 0;
  for (const seen of sampleRun(rounds)) {
    if (seen.type !== 'round') continue;
    for (const member of seen.members) payload += member.probes;
    forwards += seen.forwards;
    examples += seen.examples;
  }

  return {
    name: 'sentiment',
    rounds,
    reason: 'rounds',
    workers: 4,
    forwards,
    examples,
    probes: payload,
    payloadBytes: payload,
    wireBytes: Math.round(payload * 9.4),
    journalBytes: payload + rounds * 3 + 1200,
    seconds: rounds * 0.07,
    digest: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    scores: scoresOf(sampleRun(rounds)),
    files: [
      { path: 'runs/sentiment/model', what: 'the tuned model', bytes: 90_868_376 },
      {
        path: 'runs/sentiment/journal.onebyte',
        what: 'the whole run; replay it anywhere',
        bytes: payload + rounds * 3,
      },
      { path: 'runs/sentiment/report.html', what: 'curves, workers, bytes', bytes: 84_120 },
      { path: 'runs/sentiment/metrics.jsonl', what: 'one line per round', bytes: 61_000 },
    ],
    verify: 'onebyte replay runs/sentiment/journal.onebyte',
  };
}
