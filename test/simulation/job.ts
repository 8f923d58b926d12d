import { chooseExponent, roundToGrid } from '../../worker/grid/quantum.ts';
import { ReferenceStore } from '../../worker/grid/reference.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import type { JobSpec } from '../../worker/journal/job.ts';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import { Replica } from '../../worker/replica/replica.ts';
import type { StageTensors } from '../../worker/replica/stage.ts';
import { jobSpec } from '../journal/fixture.ts';

/** What differs between the jobs of two schedules. */
export interface JobChoices {
  /** Of each stage. */
  readonly rounds: readonly number[];
  readonly probes: number;
  readonly momentum: number;
  readonly seedPool: number;
  readonly evaluateEvery: number;
  readonly digestEvery: number;
  /** Rounds that forward passes alone allow; 0: no such limit. */
  readonly forwards: number;
  readonly codec: JobSpec['method']['codec'];
}

/** Nothing beside the rounds themselves. */
export const PLAIN_CHOICES = {
  momentum: 0,
  seedPool: 0,
  evaluateEvery: 0,
  digestEvery: 0,
  forwards: 0,
  codec: 'log8',
} as const satisfies Partial<JobChoices>;

const TENSORS = [
  { name: 'a', shape: [3, 4], exponent: chooseExponent(1) },
  { name: 'b', shape: [5], exponent: chooseExponent(1) },
];

export function jobOf(choices: JobChoices): JobSpec {
  const base = jobSpec({ probes: choices.probes, rounds: [...choices.rounds], every: choices.evaluateEvery });
  const { estimator, rule } = base.method;
  return {
    ...base,
    method: {
      ...base.method,
      estimator: { ...estimator, radius: 1e-2 },
      rule: { ...rule, momentum: choices.momentum },
      seedPool: choices.seedPool,
      codec: choices.codec,
    },
    stop: { rounds: 0, forwards: choices.forwards },
    checkpoint: { everyRounds: choices.digestEvery },
  };
}

/** A replica at the start of the job. */
export function freshReplica(stages: number): Replica {
  const store = new ReferenceStore(TENSORS);
  const start = () =>
    store.tensors.forEach(({ size }, index) => {
      const values = Float32Array.from({ length: size }, (_, i) => Math.sin(i + index));
      store.set(index, roundToGrid(values, TENSORS[index]!.exponent));
    });
  start();
  const snapshot = store.snapshot();
  const moved: StageTensors[] = Array.from({ length: stages }, (_, stage) => ({
    tensors: stage % 2 === 0 ? [0, 1] : [1],
    merges: [],
    mergedBefore: [],
  }));
  return new Replica(store, moved, () => store.restore(snapshot));
}

export function genesisFor(job: JobSpec): GenesisRecord {
  return {
    kind: 'genesis',
    uid: 'simulated',
    at: 0,
    job: canonicalJson({ name: 'simulated', spec: job }),
    base: '1'.repeat(64),
    tokenizer: '2'.repeat(64),
    tensors: TENSORS,
    state: freshReplica(job.method.plan.length).digest(),
    artifacts: [],
  };
}
