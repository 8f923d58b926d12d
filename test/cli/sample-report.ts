import type { ReportInput } from '../../cli/report/input.ts';
import { JOB, samplePlan, sampleResult, sampleRun } from './sample.ts';

const JOB_TEXT = `apiVersion: onebyte.dev/v1alpha1
kind: FineTuneJob
metadata: {name: sentiment}
spec:
  seed: 7
  model: {uri: hf://sentence-transformers/all-MiniLM-L6-v2}
  task: {type: classification, text: "{text}", label: "{label}", labels: [negative, positive]}
  method:
    plan:
    - scope: {type: head}
      rounds: 300
    - scope: {type: subspace, rank: 16, layers: "4-5"}
      rounds: 200
  replicas: 4
`;

/** The report's input of the made-up run of `rounds` rounds. */
export function sampleReport(rounds: number): ReportInput {
  const result = sampleResult(rounds);
  const hex = (n: number): string => n.toString(16).repeat(64).slice(0, 64);
  return {
    job: JOB,
    jobText: JOB_TEXT,
    plan: samplePlan(rounds),
    weights: 22_713_216,
    trained: [770, 393_984],
    startedAt: Date.UTC(2026, 2, 1, 14, 2),
    observed: sampleRun(rounds),
    result,
    digests: [
      { what: 'start state', digest: hex(1) },
      { what: 'base weights', digest: hex(2) },
      { what: 'tokenizer', digest: hex(3) },
      { what: 'basis', digest: hex(4) },
    ],
    verify: 'onebyte replay runs/sentiment/journal.onebyte',
  };
}
