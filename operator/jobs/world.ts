import type { Status } from '../../crds/job.ts';
import type { ChildKind } from './children.ts';
import type { Job } from './job.ts';
import type { LogState } from './log-port.ts';
import type { Worker } from './worker.ts';

/** All that a plan is made from, as values: the same world gives the same plan. */
export interface World {
  readonly job: Job;
  /** Last status that we know of; may be newer than the job's. */
  readonly status: Status;
  readonly workers: readonly Worker[];
  readonly exporter: Worker | null;
  readonly log: LogView;
  /** Children that are not there or not as they should be. */
  readonly missing: readonly ChildKind[];
  readonly setbacks: Setbacks;
  /** Whether this process knows that the stream is there, or is gone. */
  readonly stream: 'unknown' | 'made' | 'gone';
  /** What the log was made for, as far as this process knows. */
  readonly room: Room;
  /** Names of pods that somebody else has. */
  readonly taken: ReadonlySet<string>;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** What a log is to have. */
export interface Room {
  /** The most workers that its size is for. */
  readonly workers: number;
  /** Servers that hold a copy. */
  readonly copies: number;
}

export const noRoom: Room = { workers: 0, copies: 0 };

/** What is known of a job's log. */
export interface LogView {
  /** The last answer; null before the first. */
  readonly answer: LogState | null;
  /** Milliseconds of one round lately; null where unknown. */
  readonly roundMs: number | null;
  /** Why the log could not be asked the last time; null when it could. */
  readonly problem: string | null;
}

export const unasked: LogView = { answer: null, roundMs: null, problem: null };

/** A call of ours that was refused, and is tried again after a while. */
export interface Setback {
  /** One word for programs. */
  readonly reason: string;
  readonly message: string;
  /** Refusals in a row. */
  readonly attempts: number;
  /** When the last one was, in milliseconds since 1970. */
  readonly at: number;
  /** Generation of the job then: another one is tried at once. */
  readonly generation: number;
}

export interface Setbacks {
  readonly stream: Setback | null;
  /** More room or other copies for a stream that is there. */
  readonly room: Setback | null;
  readonly children: Setback | null;
  readonly pods: Setback | null;
}

export const noSetbacks: Setbacks = { stream: null, room: null, children: null, pods: null };
