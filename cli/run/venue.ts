import type { FineTuneJob } from '../../crds/job.ts';
import type { Prepared } from '../../worker/engine/prepare.ts';
import type { Ledger } from '../../worker/journal/ledger.ts';
import type { GenesisRecord } from '../../worker/journal/record.ts';
import type { Log } from '../../worker/log/log.ts';
import type { ChildrenEvents } from './children.ts';
import type { CrewMember } from './crew.ts';
import type { RunDirectory } from './directory.ts';

/** What a run is made of, wherever it takes place. */
export interface Assignment {
  readonly job: FineTuneJob;
  /** Canonical `{name, spec}`. */
  readonly jobText: string;
  readonly crew: readonly CrewMember[];
  /** Folder that relative paths of the job begin at. */
  readonly folder: string;
}

/** Where a run takes place: its log, and how workers reach it. */
export interface Venue {
  readonly directory: RunDirectory;
  /** What the run is called; undefined: something random. */
  readonly uid: string | undefined;
  readonly log: Log;
  /** What the log says so far. */
  readonly ledger: Ledger;
  /** What people should know before it begins. */
  readonly notices: readonly string[];
  begin(genesis: GenesisRecord): Promise<void>;
  /** Starts all workers. */
  hire(assignment: Assignment, prepared: Prepared, ledger: Ledger, events: ChildrenEvents): Hired;
  close(): Promise<void>;
}

/** The workers of a run. */
export interface Hired {
  /** Bytes that went between them and the log and the bus, both directions. */
  readonly wireBytes: number;
  /** Waits for all of them to end by themselves for `ms`, then ends them. */
  stop(ms: number): Promise<void>;
  /** Sends them away before the run's end; they may say goodbye for `ms`. */
  dismiss(ms: number): Promise<void>;
  kill(): void;
}
