/** The public door of the journal: records, what they mean, and how they are written. */
export { canonicalJson } from './canonical.ts';
export { decodeBody, encodeBody, RECORD_FORMAT } from './codec.ts';
export { type Envelope, openEnvelope, sealRecord } from './envelope.ts';
export {
  JOURNAL_FORMAT,
  type JournalEntry,
  type JournalOutcome,
  JournalWriter,
  journalOutcome,
  readJournal,
} from './file.ts';
export { type Followed, follow, type Ignored } from './follow.ts';
export type * from './job.ts';
export {
  advance,
  type CombinedEvaluation,
  chainAfter,
  combine,
  currentStage,
  dueEvaluations,
  emptyLedger,
  type Ledger,
  MAX_MEMBERS,
  type Member,
  MISSED_LIMIT,
  probesOf,
  SPLITS,
  type Split,
  type SplitHistory,
  type Totals,
} from './ledger.ts';
export { effective, forwardsOf, type PlannedStage, stageOf, totalRounds } from './plan.ts';
export { decodeProgress, type Progress, progressOf, type SplitProgress } from './progress.ts';
export type * from './record.ts';
export { canonicalRound, halfLoss, MAX_ELAPSED } from './round.ts';
export { payloadBytes } from './signs.ts';
export {
  type DigestSummary,
  type JournalSummary,
  type MemberSummary,
  type RoundSummary,
  summarise,
} from './summary.ts';
