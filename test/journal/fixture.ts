import { canonicalJson } from '../../worker/journal/canonical.ts';
import { decodeBody, encodeBody } from '../../worker/journal/codec.ts';
import type { JobSpec } from '../../worker/journal/job.ts';
import { advance, currentStage, effective, emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { GenesisRecord, Join, JournalRecord, RoundRecord } from '../../worker/journal/record.ts';

export const DIGEST = 'ab'.repeat(32);

type Changes = {
  probes?: number;
  sides?: 1 | 2;
  rounds?: number[];
  stop?: Partial<JobSpec['stop']>;
  every?: number;
};

export function jobSpec({
  probes = 2,
  sides = 2,
  rounds = [3, 2],
  stop = {},
  every = 2,
}: Changes = {}): JobSpec {
  return {
    seed: 7,
    model: { uri: 'hf://sentence-transformers/all-MiniLM-L6-v2', sha256: DIGEST },
    task: {
      type: 'classification',
      text: '{text}',
      label: '{label}',
      labels: ['negative', 'positive'],
      maxTokens: 64,
      pooling: 'mean',
    },
    method: {
      plan: rounds.map((count, i) => ({
        scope: {
          type: i === 0 ? 'head' : 'subspace',
          layers: '4-5',
          matrices: ['query', 'key', 'value', 'output', 'up', 'down'],
          rank: 16,
          alpha: 16,
          head: true,
          epochs: 1,
          basis: { type: 'activation', rows: 256 },
        },
        rounds: count,
      })),
      estimator: { radius: 1e-3, probes: { min: 1, max: probes }, batch: 16, sides },
      rule: {
        type: 'normalized',
        learningRate: 1,
        scaling: 'sqrt',
        momentum: 0,
        schedule: 'linear',
        warmupRounds: 0,
        weighting: 'probes',
      },
      codec: 'log8',
      seedPool: 0,
      seedDraw: 'uniform',
    },
    stop: { rounds: 0, forwards: 0, ...stop },
    evaluation: { everyRounds: every, examples: 256 },
    checkpoint: { everyRounds: 0 },
  };
}

export function genesisOf(spec: JobSpec = jobSpec()): GenesisRecord {
  return {
    kind: 'genesis',
    uid: 'c0ffee00c0ffee00',
    at: 1_700_000_000_000,
    job: canonicalJson({ name: 'sentiment', spec }),
    base: DIGEST,
    tokenizer: DIGEST,
    tensors: [
      { name: 'head.weight', shape: [2, 384], exponent: -20 },
      { name: 'head.bias', shape: [2], exponent: -19 },
    ],
    state: DIGEST,
    artifacts: [{ name: 'basis', digest: DIGEST, bytes: 12345 }],
  };
}

export function joinOf(n: number, group = ''): Join {
  return { id: n.toString(16).padStart(16, '0'), name: `worker-${n}`, group, examples: 100 };
}

/** A round record for the ledger's next round: every member with the most probes, unless told otherwise. */
export function roundOf(ledger: Ledger, changes: Partial<RoundRecord> = {}): RoundRecord {
  const max =
    ledger.complete === null ? effective(ledger.job!, currentStage(ledger).stage).estimator.probes.max : 0;
  return {
    kind: 'round',
    round: ledger.round,
    attempt: 0,
    elapsed: 100,
    loss: 0.5,
    bytes: ledger.members.map((member) =>
      new Uint8Array(max).map((_, i) => ((member.slot * 31 + i * 7 + ledger.round) % 255) + 1),
    ),
    joins: [],
    leaves: [],
    evaluations: [],
    digest: null,
    ...changes,
  };
}

/** Encodes, decodes and applies: what a replica does with a record. */
export function put(ledger: Ledger, record: JournalRecord): Ledger {
  const body = encodeBody(record, ledger);
  return advance(ledger, decodeBody(body, ledger), body);
}

/** A ledger after genesis with `members` members in. */
export function started(members: number, spec: JobSpec = jobSpec()): Ledger {
  const ledger = put(emptyLedger(), genesisOf(spec));
  if (members === 0) return ledger;
  const joins = Array.from({ length: members }, (_, i) => joinOf(i));
  return put(ledger, roundOf(ledger, { joins, bytes: [] }));
}

/** Records of a whole run: four joins, a leave, a straggler, a round of signs, evaluations, two disputes, a checkpoint, the end. */
export function wholeRun(spec: JobSpec = jobSpec()): JournalRecord[] {
  const records: JournalRecord[] = [];
  let ledger = emptyLedger();
  const add = (record: JournalRecord) => {
    records.push(record);
    ledger = put(ledger, record);
  };
  add(genesisOf(spec));
  add(roundOf(ledger, { joins: [joinOf(0), joinOf(1, 'hospital-a'), joinOf(2)], bytes: [] }));
  while (ledger.complete === null) {
    const round = ledger.round;
    const evaluations = ledger.members.map((member) => ({
      split: 'validation' as const,
      slot: member.slot,
      count: 64,
      lossSum: 32.5 - round,
      correct: 40 + round,
    }));
    if (round === 1) {
      const bytes = ledger.members.map((_, i) => (i === 1 ? new Uint8Array(0) : new Uint8Array([9, 200])));
      add(roundOf(ledger, { bytes, attempt: 2, joins: [joinOf(3)], digest: DIGEST }));
      add({
        kind: 'dispute',
        round,
        slot: 0,
        member: joinOf(0).id,
        proposer: joinOf(1).id,
        reason: 'bytes',
        expected: '0908',
      });
      add({
        kind: 'dispute',
        round,
        slot: 3,
        member: joinOf(3).id,
        proposer: joinOf(3).id,
        reason: 'tensor',
        expected: 'head.weight',
      });
    } else if (round === 2) add(roundOf(ledger, { leaves: [1], evaluations, loss: Number.NaN }));
    else if (round === 4) add(roundOf(ledger, { bytes: ledger.members.map(() => Uint8Array.of(0x81, 1)) }));
    else add(roundOf(ledger, { evaluations: round === 0 ? evaluations : [] }));
    if (round === 3) add({ kind: 'checkpoint', round, digest: DIGEST, location: 'state-3.safetensors' });
  }
  const evaluations = (['validation', 'test'] as const).flatMap((split) =>
    ledger.members.map((member) => ({ split, slot: member.slot, count: 64, lossSum: 20, correct: 55 })),
  );
  add(roundOf(ledger, { evaluations }));
  add({ kind: 'end', round: ledger.totals.rounds, digest: DIGEST, reason: 'rounds' });
  return records;
}
