import type { Ledger } from '../journal/ledger.ts';
import { emptyLedger } from '../journal/ledger.ts';
import type { CheckpointRecord, DisputeRecord, Join } from '../journal/record.ts';
import type { Ballot } from './ballot.ts';
import type { Start } from './checkpoint.ts';
import type { Effect, TimerName } from './event.ts';
import type { Message, Proposal, Tag } from './messages.ts';
import { type Pace, STARTING_PACE } from './pace.ts';
import type { ProbeCount } from './probes.ts';

export interface MachineOptions {
  /** Workers that a run without members waits for before the first round starts; 1: nobody. */
  readonly expected: number;
  /** Longest wait for them, in milliseconds. */
  readonly grace: number;
  /** Longest wait to see a leave committed, in milliseconds. */
  readonly leaveWithin: number;
  /** Whether an earlier process had this member's id, surely gone by now: it may have spoken for the open round. */
  readonly heir: boolean;
}

export const DEFAULT_OPTIONS: MachineOptions = {
  expected: 1,
  grace: 10_000,
  leaveWithin: 10_000,
  heir: false,
};

/** Somebody who asked to be let in, and when it last did. */
export interface Joiner {
  /** Of which run; this member may not know its own yet. */
  readonly run: Tag;
  readonly join: Join;
  readonly at: number;
}

/** A proposal for a round that this member has not reached. */
export interface Early {
  readonly from: string;
  readonly proposal: Proposal;
}

/** The round before the open one. */
export interface Previous {
  readonly tag: Tag;
  readonly firstAt: number | null;
  /** Milliseconds that this member's probes took, without what they do not take again. */
  readonly took: number;
}

/** One member, as a value. */
export interface MachineState {
  readonly self: Join;
  readonly options: MachineOptions;

  /** After the last entry that was followed, and that entry's sequence. */
  readonly ledger: Ledger;
  readonly seq: number;
  /** Tag of the chain after the genesis record: what tells this run's messages from another's. */
  readonly run: Tag | null;
  /** The sequence to reach before taking part; null: not started. */
  readonly target: number | null;
  /** When the last record came. */
  readonly entryAt: number;
  /** Whether the state is known to be wrong. */
  readonly muted: boolean;

  readonly ballot: Ballot | null;
  readonly previous: Previous | null;
  /** What this member said for recent rounds: it never says two different things for one. */
  readonly sent: readonly Proposal[];
  /** An heir's first round, for which its predecessor may have spoken. */
  readonly inherited: Tag | null;
  readonly early: readonly Early[];
  readonly pace: Pace;
  /** Of the stage that it was learnt in. */
  readonly probes: (ProbeCount & { readonly stage: number }) | null;

  /** The append whose outcome, or whose entry, is awaited: its expected last sequence. */
  readonly appending: number | null;
  /** Appends in a row that came to nothing. */
  readonly failures: number;
  readonly disputes: readonly DisputeRecord[];
  /** A snapshot that the log does not know of yet. */
  readonly checkpoint: CheckpointRecord | null;
  /** Members that disputed the digest which this one put in a record, by round. */
  readonly accusers: { readonly round: number; readonly members: readonly string[] };
  /** Chain tags of records whose digest this replica does not share, and has rebuilt itself for. */
  readonly suspects: readonly Tag[];
  /** Members whose digest was another than this replica's own even after it had rebuilt itself. */
  readonly distrusted: readonly string[];

  /** Whether the engine was made ready, so that the first round as a member takes no longer than any other. */
  readonly readiness: 'none' | 'asked' | 'ready';
  readonly joiners: readonly Joiner[];
  readonly leavers: readonly string[];
  /** Requests to join without an answer. */
  readonly joinTries: number;
  /** Whether the join timer runs. */
  readonly joining: boolean;
  /** When a member last said that it is there. */
  readonly heardAt: number;
  /** Times in a row that the others let go of this member. */
  readonly evictions: number;
  /** Since when the run has had no members; null while it has some. */
  readonly emptySince: number | null;
  /** Whether it is this member's turn to act for a run that nobody else moves. */
  readonly acting: boolean;

  /** Until when to wait for one's own leave; null: not leaving. */
  readonly leaveBy: number | null;
  readonly leaveTries: number;
  readonly cancelled: boolean;
  readonly done: boolean;
}

/** @param start where the member begins, if not at the log's first entry */
export function initialState(
  self: Join,
  options: Partial<MachineOptions> = {},
  start: Start | null = null,
): MachineState {
  return {
    self,
    options: { ...DEFAULT_OPTIONS, ...options },
    ledger: start?.ledger ?? emptyLedger(),
    seq: start?.seq ?? 0,
    run: start?.run ?? null,
    target: null,
    entryAt: 0,
    muted: false,
    ballot: null,
    previous: null,
    sent: [],
    inherited: null,
    early: [],
    pace: STARTING_PACE,
    probes: null,
    appending: null,
    failures: 0,
    disputes: [],
    checkpoint: null,
    accusers: { round: -1, members: [] },
    suspects: [],
    distrusted: [],
    readiness: 'none',
    joiners: [],
    leavers: [],
    joinTries: 0,
    joining: false,
    heardAt: 0,
    evictions: 0,
    emptySince: null,
    acting: false,
    leaveBy: null,
    leaveTries: 0,
    cancelled: false,
    done: false,
  };
}

type Draft = { -readonly [K in keyof MachineState]: MachineState[K] };

/** One step under way: a copy of the state whose fields are replaced, and the effects so far. */
export class Turn {
  readonly state: Draft;
  readonly effects: Effect[] = [];
  readonly now: number;

  constructor(state: MachineState, now: number) {
    this.state = { ...state };
    this.now = now;
  }

  /** Replaces parts of the open ballot. */
  ballot(changes: Partial<Ballot>): void {
    this.state.ballot = { ...this.state.ballot!, ...changes };
  }

  act(effect: Effect): void {
    this.effects.push(effect);
  }

  send(to: string, message: Message): void {
    this.act({ type: 'send', to, message });
  }

  setTimer(name: TimerName, ms: number): void {
    this.act({ type: 'setTimer', name, ms: Math.max(0, ms) });
  }

  cancelTimer(name: TimerName): void {
    this.act({ type: 'cancelTimer', name });
  }
}

/** Whether this member's state is up to date, as far as it knows, and there is a run to take part in. */
export function takesPart(state: MachineState): boolean {
  const { target, seq, muted, ledger } = state;
  return target !== null && seq >= target && !muted && ledger.genesis !== null && ledger.end === null;
}
