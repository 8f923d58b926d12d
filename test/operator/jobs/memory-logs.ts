import type { Job } from '../../../operator/jobs/job.ts';
import type { LogJob, LogPort, LogState, LogSummary } from '../../../operator/jobs/log-port.ts';
import { summaryOf } from './builder.ts';

/** Logs as they would be on a server, without the server. */
export class MemoryLogs implements LogPort {
  readonly states = new Map<string, LogState>();
  readonly removed: string[] = [];
  readonly left: string[] = [];
  /** What every call fails with. */
  problem: string | null = null;
  /** Credentials that workers get. */
  files: Record<string, string> | null = null;
  /** Called before each call. */
  before: (what: string) => void = () => undefined;

  async create({ uid }: LogJob): Promise<string> {
    this.#check('create');
    if (!this.states.has(uid)) this.states.set(uid, { type: 'empty' });
    return `onebyte-${uid}`;
  }

  async last({ uid }: LogJob): Promise<LogState> {
    this.#check('last');
    return this.states.get(uid) ?? { type: 'missing' };
  }

  async remove({ uid }: LogJob): Promise<void> {
    this.#check('remove');
    if (this.states.delete(uid)) this.removed.push(uid);
  }

  async credentials(): Promise<Record<string, string> | null> {
    return this.files;
  }

  leave(uid: string): void {
    this.left.push(uid);
  }

  async close(): Promise<void> {}

  say(job: Job, changes: Partial<LogSummary>): void {
    this.states.set(job.metadata.uid!, { type: 'known', summary: summaryOf(changes) });
  }

  #check(what: string): void {
    this.before(what);
    if (this.problem !== null) throw new Error(this.problem);
  }
}
