/** What a worker of `onebyte run` and its parent say to each other. */
import type { EngineConfig, EngineFacts } from './engine/engine.ts';
import type { Failure } from './engine/protocol.ts';
import type { Outcome } from './round/driver.ts';

export interface LocalWorker {
  /** Its member's id: one worker's for the whole run, whichever process it is. 16 hex digits. */
  readonly id: string;
  /** Whether a process before this one had the id. */
  readonly heir: boolean;
  readonly name: string;
  readonly group: string;
  readonly engine: EngineConfig;
  /** Members that the run begins with. */
  readonly expected: number;
}

/** What the parent says. */
export type ToWorker =
  | { readonly plane: 'control'; readonly type: 'start'; readonly worker: LocalWorker }
  | { readonly plane: 'control'; readonly type: 'leave' }
  | { readonly plane: 'control'; readonly type: 'cancel' };

/** What the worker says. */
export type FromWorker =
  | { readonly plane: 'control'; readonly type: 'opened'; readonly facts: EngineFacts }
  | { readonly plane: 'control'; readonly type: 'outcome'; readonly outcome: Outcome }
  | { readonly plane: 'control'; readonly type: 'failed'; readonly failure: Failure };

export function isControl(message: unknown): message is ToWorker | FromWorker {
  return (message as { plane?: unknown } | null)?.plane === 'control';
}
