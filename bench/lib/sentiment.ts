/** The sentiment example's model and task under a method of a bench's own. */
import { jobSpec } from '../../test/journal/fixture.ts';
import type { JobSpec } from '../../worker/journal/job.ts';

type Method = JobSpec['method'];

/** Everything that is not said is as a job has it by default, without evaluations, snapshots and bounds. */
export function sentimentJob(
  { rule, ...method }: Partial<Omit<Method, 'rule'>> & { readonly rule?: Partial<Method['rule']> },
  changes: Partial<JobSpec> = {},
): JobSpec {
  const base = jobSpec({ every: 0 });
  return {
    ...base,
    model: { ...base.model, sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db' },
    task: {
      type: 'classification',
      text: '{text}',
      label: 'label',
      labels: ['negative', 'positive'],
      maxTokens: 64,
      pooling: 'mean',
    },
    method: { ...base.method, ...method, rule: { ...base.method.rule, ...rule } },
    ...changes,
  };
}
