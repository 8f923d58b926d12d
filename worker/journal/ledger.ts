import { hash } from 'node:crypto';
import { OnebyteError } from '../errors.ts';
import {
  type CombinedEvaluation,
  combine,
  type Evaluations,
  evaluationsAfter,
  SPLITS,
  type Split,
} from './evaluation.ts';
import type { JobSpec } from './job.ts';
import { parseJob } from './job-text.ts';
import { MAX_MEMBERS, type Member, membersAfter } from './member.ts';
import { effective, forwardsOf, type PlannedStage, stageOf, totalRounds } from './plan.ts';
import type {
  ArtifactRecord,
  CheckpointRecord,
  EndRecord,
  GenesisRecord,
  JournalRecord,
  RoundRecord,
} from './record.ts';
import { payloadBytes } from './signs.ts';

export {
  type CombinedEvaluation,
  combine,
  SPLITS,
  type Split,
  type SplitHistory,
} from './evaluation.ts';
export { MAX_MEMBERS, type Member, MISSED_LIMIT } from './member.ts';
export { effective, forwardsOf, stageOf, totalRounds } from './plan.ts';

/** Share of the old value in the exponential average of the loss. */
const LOSS_DECAY = 0.9;

export interface Totals {
  readonly probes: number;
  /** What they took in the records: one byte each, or less where they were signs. */
  readonly payloadBytes: number;
  /** Forward passes, one batch each. */
  readonly forwards: number;
  /** Examples that went through a forward pass: forwards times the batch, or the member's examples where fewer. */
  readonly exampleForwards: number;
  readonly disputes: number;
  /** Rounds that moved the state. */
  readonly rounds: number;
  /** Milliseconds, as the proposers measured them. */
  readonly elapsed: number;
}

/**
 * What the records so far say, the same on every replica. A value: `advance` makes a new one.
 *
 * Three sorts of round record:
 * - an *update* has at least one byte: it moves the state and `round` goes up by one;
 * - a *membership-only* record (no byte, before completion, or nobody in): admits and releases members. `round`,
 *   `roundChain` and `missed` stay, so that probes in flight for the round stay good. It carries no evaluations;
 * - the *final evaluation*: the first round record after completion while members are in. No bytes; `round` goes up
 *   by one, `finished` is set, and `end` is the only record kind but disputes, checkpoints and artifacts that may follow.
 */
export interface Ledger {
  /** Records applied. */
  readonly records: number;
  /** SHA-256(chain before || body) after the last record; 32 zero bytes before the first. */
  readonly chain: Uint8Array;
  /** The chain's value right after the genesis or the last record that raised `round`: what seeds are drawn from. */
  readonly roundChain: Uint8Array;
  readonly genesis: GenesisRecord | null;
  /** The job's name and spec, from the genesis. */
  readonly name: string;
  readonly job: JobSpec | null;
  /** The next round to commit. */
  readonly round: number;
  /** Who is in for the next round record, by slot. */
  readonly members: readonly Member[];
  readonly totals: Totals;
  /** Exponential average of the rounds' losses; NaN until one was measured. */
  readonly loss: number;
  readonly evaluations: Evaluations;
  /** Why no more updates come; decided from the records alone. */
  readonly complete: 'rounds' | 'forwards' | 'target' | null;
  /** Whether the final evaluation is in. */
  readonly finished: boolean;
  readonly checkpoint: CheckpointRecord | null;
  readonly artifacts: readonly ArtifactRecord[];
  readonly end: EndRecord | null;
}

export function emptyLedger(): Ledger {
  return {
    records: 0,
    chain: new Uint8Array(32),
    roundChain: new Uint8Array(32),
    genesis: null,
    name: '',
    job: null,
    round: 0,
    members: [],
    totals: {
      probes: 0,
      payloadBytes: 0,
      forwards: 0,
      exampleForwards: 0,
      disputes: 0,
      rounds: 0,
      elapsed: 0,
    },
    loss: Number.NaN,
    evaluations: { train: null, validation: null, test: null },
    complete: null,
    finished: false,
    checkpoint: null,
    artifacts: [],
    end: null,
  };
}

export function chainAfter(chain: Uint8Array, body: Uint8Array): Uint8Array {
  const both = new Uint8Array(chain.length + body.length);
  both.set(chain);
  both.set(body, chain.length);
  return new Uint8Array(hash('sha256', both, 'buffer'));
}

/** Probes of all members in a round record. */
export function probesOf(record: RoundRecord): number {
  return record.bytes.reduce((sum, bytes) => sum + bytes.length, 0);
}

/** The stage whose state the ledger's members hold now: after completion still that of the last update. */
export function currentStage(ledger: Ledger): PlannedStage {
  const job = ledger.job;
  if (job === null) throw invalid('no genesis record yet');
  return stageOf(job, ledger.complete === null ? ledger.round : ledger.totals.rounds - 1);
}

/** Splits that are to be evaluated at the start state of the next round. */
export function dueEvaluations(ledger: Ledger): readonly Split[] {
  if (ledger.job === null || ledger.finished || ledger.end !== null) return [];
  if (ledger.round === 0 || ledger.complete !== null) return ['validation', 'test'];
  const every = ledger.job.evaluation.everyRounds;
  return every > 0 && ledger.round % every === 0 ? ['validation'] : [];
}

/**
 * The ledger after one more record. `body` is the record's encoding; it only enters the chain.
 * @throws OnebyteError RECORD_INVALID, naming what is wrong. `ledger` is never changed.
 */
export function advance(ledger: Ledger, record: JournalRecord, body: Uint8Array): Ledger {
  if (ledger.end !== null) throw invalid(`a ${record.kind} record after the end record`);
  if (record.kind === 'genesis' && ledger.genesis !== null) throw invalid('a second genesis record');
  if (record.kind !== 'genesis' && ledger.genesis === null)
    throw invalid(`a ${record.kind} record before the genesis`);
  const next: { -readonly [K in keyof Ledger]: Ledger[K] } = after(ledger, record);
  next.records = ledger.records + 1;
  next.chain = chainAfter(ledger.chain, body);
  const raised = record.kind === 'genesis' || next.round !== ledger.round;
  if (raised) next.roundChain = next.chain;
  return next;
}

/** A new value, always. */
function after(ledger: Ledger, record: JournalRecord): Ledger {
  switch (record.kind) {
    case 'genesis': {
      const { name, job } = parseJob(record.job);
      return { ...ledger, genesis: record, name, job, complete: totalRounds(job) === 0 ? 'rounds' : null };
    }
    case 'round':
      return afterRound(ledger, ledger.job!, record);
    case 'checkpoint':
      check(record.round <= ledger.round, `a checkpoint of round ${record.round}, at round ${ledger.round}`);
      return { ...ledger, checkpoint: record };
    case 'artifact':
      return { ...ledger, artifacts: [...ledger.artifacts, record] };
    case 'dispute':
      check(record.round < ledger.round, `a dispute of round ${record.round}, which is not committed`);
      return { ...ledger, totals: { ...ledger.totals, disputes: ledger.totals.disputes + 1 } };
    case 'end':
      check(
        record.round === ledger.totals.rounds,
        `an end after ${record.round} rounds, after ${ledger.totals.rounds}`,
      );
      if (record.reason !== 'cancelled') {
        check(record.reason === ledger.complete, `an end by ${record.reason}, not by ${ledger.complete}`);
        check(ledger.finished, 'an end before the final evaluation');
      }
      return { ...ledger, end: record };
    default:
      throw invalid(`an unknown kind of record: ${String((record as { kind: unknown }).kind)}`);
  }
}

function afterRound(ledger: Ledger, job: JobSpec, record: RoundRecord): Ledger {
  check(!ledger.finished, 'a round record after the final evaluation');
  if (record.round !== ledger.round)
    throw invalid(`round ${record.round} where round ${ledger.round} is due`);
  checkRound(ledger, job, record);
  const final = ledger.complete !== null && ledger.members.length > 0;
  const update = probesOf(record) > 0;
  if (!update && !final) {
    check(record.joins.length + record.leaves.length > 0, 'a round record without bytes, joins or leaves');
    check(record.evaluations.length === 0, 'evaluations in a record without bytes');
  }
  const round = update || final ? ledger.round + 1 : ledger.round;
  const evaluations = evaluationsAfter(ledger.evaluations, record);
  const totals = totalsAfter(ledger, job, record, update);
  const complete =
    ledger.complete ?? (update ? completion(job, round, totals, combine(record, 'validation')) : null);
  return {
    ...ledger,
    round,
    members: membersAfter(ledger.members, record, round, update),
    totals,
    loss: update ? averaged(ledger.loss, record.loss) : ledger.loss,
    evaluations,
    complete,
    finished: final,
  };
}

function checkRound(ledger: Ledger, job: JobSpec, record: RoundRecord): void {
  const { members } = ledger;
  if (record.bytes.length !== members.length)
    throw invalid(`bytes of ${record.bytes.length} members, where ${members.length} are in`);
  const max = ledger.complete === null ? effective(job, currentStage(ledger).stage).estimator.probes.max : 0;
  record.bytes.forEach(({ length }, i) => {
    if (length > max)
      throw invalid(`${length} bytes for slot ${members[i]!.slot}, at most ${max} are allowed`);
  });
  if (record.joins.length + record.leaves.length + record.evaluations.length > 0) checkLists(members, record);
}

function checkLists(members: readonly Member[], record: RoundRecord): void {
  const slots = new Set(members.map((member) => member.slot));
  checkAscending(record.leaves, 'leaves');
  for (const slot of record.leaves) check(slots.has(slot), `a leave of slot ${slot}, which nobody holds`);
  const ids = new Set(members.map((member) => member.id));
  for (const join of record.joins) {
    check(/^[0-9a-f]{16}$/.test(join.id), `a join with the id '${join.id}', which is not 16 hex digits`);
    check(!ids.has(join.id), `a join of ${join.id}, which is in already`);
    check(count(join.examples), `a join with ${join.examples} examples`);
    ids.add(join.id);
  }
  check(members.length + record.joins.length <= MAX_MEMBERS, `more than ${MAX_MEMBERS} members`);
  checkAscending(
    record.evaluations.map((e) => SPLITS.indexOf(e.split) * MAX_MEMBERS * 2 + e.slot),
    'evaluations by split and slot',
  );
  for (const e of record.evaluations) {
    check(slots.has(e.slot), `an evaluation of slot ${e.slot}, which nobody holds`);
    check(count(e.count) && e.count > 0, `an evaluation of ${e.count} examples`);
    check(count(e.correct) && e.correct <= e.count, `${e.correct} correct of ${e.count}`);
    check(!Number.isNaN(e.lossSum), 'an evaluation whose loss is not a number');
  }
}

function totalsAfter(ledger: Ledger, job: JobSpec, record: RoundRecord, update: boolean): Totals {
  const { estimator } = effective(job, currentStage(ledger).stage);
  const totals = { ...ledger.totals, elapsed: ledger.totals.elapsed + record.elapsed };
  if (!update) return totals;
  totals.rounds++;
  totals.payloadBytes += payloadBytes(record.bytes);
  for (const [i, bytes] of record.bytes.entries()) {
    const forwards = forwardsOf(estimator, bytes.length);
    totals.probes += bytes.length;
    totals.forwards += forwards;
    totals.exampleForwards += forwards * Math.min(estimator.batch, ledger.members[i]!.examples);
  }
  return totals;
}

function completion(
  job: JobSpec,
  round: number,
  totals: Totals,
  validation: CombinedEvaluation | null,
): Ledger['complete'] {
  const { target, forwards } = job.stop;
  if (target !== undefined && validation !== null) {
    const met =
      target.metric === 'accuracy' ? validation.accuracy >= target.value : validation.loss <= target.value;
    if (met) return 'target';
  }
  if (round >= totalRounds(job)) return 'rounds';
  return forwards > 0 && totals.forwards >= forwards ? 'forwards' : null;
}

function averaged(average: number, loss: number): number {
  if (Number.isNaN(loss)) return average;
  return Number.isNaN(average) ? loss : average * LOSS_DECAY + loss * (1 - LOSS_DECAY);
}

function checkAscending(numbers: readonly number[], what: string): void {
  for (let i = 1; i < numbers.length; i++)
    check(numbers[i]! > numbers[i - 1]!, `${what} out of order or twice`);
}

function count(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw invalid(what);
}

function invalid(what: string): OnebyteError {
  return new OnebyteError('RECORD_INVALID', `the record cannot follow the ones before it: ${what}`);
}
