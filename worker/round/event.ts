import type { Ledger, Split } from '../journal/ledger.ts';
import type { CheckpointRecord, Digest, EndRecord, JournalRecord } from '../journal/record.ts';
import type { Message, Sums, Tag } from './messages.ts';
import type { Shard } from './shard.ts';

/** Names of a member's timers; arming one replaces it. */
export const TIMERS = ['catchUp', 'wait', 'attempt', 'retry', 'join', 'boot', 'takeover', 'leave'] as const;
export type TimerName = (typeof TIMERS)[number];

/** What happens to one member. */
export type Event =
  /** The log's last sequence now, at the start and after `look`: what has to be applied before taking part. */
  | { readonly type: 'started'; readonly last: number }
  /**
   * A record was followed and the state moved with it. `own` is this member's digest of the state that the record
   * speaks of, where the record carries one and it could be taken.
   */
  | {
      readonly type: 'entry';
      readonly seq: number;
      readonly record: JournalRecord;
      readonly ledger: Ledger;
      readonly own: Digest | null;
    }
  /** An entry that every replica ignores. */
  | { readonly type: 'ignored'; readonly seq: number }
  /** The log lost its tail; ledger and state were taken back to what is left. */
  | { readonly type: 'truncated'; readonly seq: number; readonly ledger: Ledger }
  /**
   * The state was thrown away and is being built again from the log's start, because it differed from the others', or
   * because the log lost what it began from; `last` as in `started`.
   */
  | { readonly type: 'rebuilding'; readonly why: 'diverged' | 'lost'; readonly last: number }
  /**
   * The state that was thrown away because of a record of `round` differed from the one built anew in these tensors, in
   * layout order; none: it was right, as far as anybody can tell.
   */
  | { readonly type: 'compared'; readonly round: number; readonly tensors: readonly string[] }
  | { readonly type: 'message'; readonly from: string; readonly message: Message }
  | { readonly type: 'timer'; readonly name: TimerName }
  | {
      readonly type: 'probed';
      readonly tag: Tag;
      readonly slot: number;
      readonly bytes: Uint8Array;
      readonly lossSum: number;
      readonly lossCount: number;
      /** `Probed.frozenSeconds` */
      readonly frozenSeconds?: number;
    }
  | {
      readonly type: 'evaluated';
      readonly tag: Tag;
      readonly slot: number;
      readonly sums: readonly Sums[];
    }
  | { readonly type: 'digested'; readonly tag: Tag; readonly digest: Digest }
  /** The engine could measure at once. */
  | { readonly type: 'prepared' }
  /** A snapshot that this member keeps for newcomers: to be told in the log. */
  | { readonly type: 'stored'; readonly record: CheckpointRecord }
  /** How an append went. `expectedLast` names which one. */
  | { readonly type: 'appended' | 'conflict' | 'unavailable'; readonly expectedLast: number }
  /** Somebody asks this member to go (SIGTERM). */
  | { readonly type: 'leave' }
  /** Somebody asks for the run to end here. */
  | { readonly type: 'cancel' };

/** What one member is to do. */
export type Effect =
  /** Evaluate `count` probes at the round's state; answered by `probed`, or by nothing when a record overtakes it. */
  | {
      readonly type: 'probe';
      readonly tag: Tag;
      readonly round: number;
      readonly slot: number;
      readonly count: number;
      readonly roundChain: Uint8Array;
    }
  | {
      readonly type: 'evaluate';
      readonly tag: Tag;
      readonly round: number;
      readonly slot: number;
      readonly splits: readonly Split[];
      readonly shard: Shard;
    }
  /** Make ready for the stage that the log is in; answered by `prepared`. */
  | { readonly type: 'prepare' }
  /** Take the digest of the round's state; answered by `digested`. */
  | { readonly type: 'digest'; readonly tag: Tag }
  /** Stop evaluating: the result is no longer wanted. */
  | { readonly type: 'abandon' }
  | {
      readonly type: 'append';
      readonly record: JournalRecord;
      readonly ledger: Ledger;
      readonly expectedLast: number;
    }
  | { readonly type: 'send'; readonly to: string; readonly message: Message }
  | { readonly type: 'broadcast'; readonly message: Message }
  | { readonly type: 'setTimer'; readonly name: TimerName; readonly ms: number }
  | { readonly type: 'cancelTimer'; readonly name: TimerName }
  /** Ask for the log's last sequence; answered by `started`. */
  | { readonly type: 'look' }
  /** Nothing came of the log for long though it must hold something: open its tail anew. */
  | { readonly type: 'resync' }
  /** This replica's state is not the one that the record speaks of: throw it away and build it from the log. */
  | { readonly type: 'diverged'; readonly round: number; readonly expected: Digest; readonly own: Digest }
  /** The member is out, or gave up waiting for it. Nothing follows. */
  | { readonly type: 'left'; readonly released: boolean }
  /** The run has ended. `own` is this replica's digest of the final state, where it was taken. */
  | { readonly type: 'finished'; readonly record: EndRecord; readonly own: Digest | null };
