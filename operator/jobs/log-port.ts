import type { Spec } from '../../crds/job.ts';
import { type Job, roomOf } from './job.ts';
import { timeOf } from './worker.ts';

/** What the operator needs of the system that keeps the logs. The implementation over NATS is passed in. */

/** A job, as far as its log is concerned. */
export interface LogJob {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Seconds since 1970. */
  readonly createdAt: number;
  /** Servers of `spec.nats.url`; undefined: those that the operator is set up with. */
  readonly url: string | undefined;
  /** Servers that hold a copy. */
  readonly replicas: number;
  /** Says how long the log may become, and what else workers need. */
  readonly spec: Pick<Spec, 'method' | 'stop' | 'evaluation' | 'max' | 'template' | 'groups'>;
}

/** What the last record of a log says. */
export interface LogSummary {
  /** Rounds that moved the state, and how many the plan has. */
  readonly rounds: number;
  readonly members: number;
  readonly forwards: number;
  readonly examples: number;
  readonly payloadBytes: number;
  /** Average over the last rounds; null where none was measured. */
  readonly loss: number | null;
  readonly evaluation: LogEvaluation | null;
  /** Milliseconds that all rounds took together. */
  readonly elapsed: number;
  /** Set by the end record. */
  readonly end: {
    readonly reason: 'rounds' | 'forwards' | 'target' | 'cancelled';
    readonly digest: string;
  } | null;
}

export interface LogEvaluation {
  readonly split: 'train' | 'validation' | 'test';
  readonly round: number;
  readonly examples: number;
  readonly loss: number;
  readonly accuracy: number;
}

/** Answer to the question for a log's last record. */
export type LogState =
  | { readonly type: 'known'; readonly summary: LogSummary }
  /** There is a stream, without a record yet. */
  | { readonly type: 'empty' }
  /** There is no stream. */
  | { readonly type: 'missing' };

/** Calls reject with an Error whose message a person understands; all of them may be repeated. */
export interface LogPort {
  /** Makes the job's stream, or finds it made and sees to it that it has room for `spec.max` workers and its copies; gives its name. */
  create(job: LogJob, signal: AbortSignal): Promise<string>;
  last(job: LogJob, signal: AbortSignal): Promise<LogState>;
  /** Removes the stream for good; no error where there is none. */
  remove(job: LogJob, signal: AbortSignal): Promise<void>;
  /**
   * Files of a folder with credentials bound to this worker, the same at every call; null where workers share
   * credentials or need none.
   */
  credentials(job: LogJob, worker: string): Promise<Readonly<Record<string, string>> | null>;
  /** Nothing is asked of a job's log for now: what was held open for it alone is closed. */
  leave(uid: string): void;
  close(): Promise<void>;
}

export function logJobOf(job: Job): LogJob {
  const { metadata, spec } = job;
  return {
    uid: metadata.uid!,
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    createdAt: Math.floor((timeOf(metadata.creationTimestamp) ?? 0) / 1_000),
    url: spec.nats?.url,
    replicas: roomOf(job).copies,
    spec,
  };
}
