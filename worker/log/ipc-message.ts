import type { AppendOptions, LogEntry } from './log.ts';
import { LogConflict, LogFull, LogUnavailable } from './log.ts';

/** Messages of one log on a channel that may carry others too: `plane` names it. */
export type Request = { readonly plane: string } & (
  | {
      readonly type: 'append';
      readonly call: number;
      readonly data: Uint8Array;
      readonly options: AppendOptions;
    }
  | { readonly type: 'last'; readonly call: number }
  | { readonly type: 'read'; readonly call: number; readonly from: number; readonly to: number | undefined }
  | { readonly type: 'tail'; readonly call: number; readonly from: number }
  /** So many batches were taken: as many more may come. */
  | { readonly type: 'more'; readonly call: number; readonly batches: number }
  | { readonly type: 'stop'; readonly call: number }
);

export type Answer = { readonly plane: string } & (
  | { readonly type: 'done'; readonly call: number; readonly value: number | LogEntry | null }
  | { readonly type: 'failed'; readonly call: number; readonly failure: Failure }
  | { readonly type: 'items'; readonly call: number; readonly items: readonly Item[] }
  | { readonly type: 'ended'; readonly call: number }
);

/** An entry (with data) or a truncation (without), flat so that a batch stays small. */
export interface Item {
  readonly seq: number;
  readonly data: Uint8Array | null;
}

export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly last: number | undefined;
}

/** A request as its sender makes it. */
export type Body = Request extends infer R ? (R extends Request ? Omit<R, 'plane'> : never) : never;

/** Whether a message on a shared channel is one of `plane`. */
export function belongs(message: unknown, plane: string): boolean {
  return typeof message === 'object' && message !== null && (message as { plane?: unknown }).plane === plane;
}

export function failureOf(error: unknown): Failure {
  const { name, message, last } = error as { name?: string; message?: string; last?: number };
  return { name: name ?? 'Error', message: message ?? String(error), last };
}

export function errorOf({ name, message, last }: Failure, append?: AppendOptions): Error {
  if (name === 'LogConflict') return new LogConflict(append?.expectedLast ?? -1, last);
  if (name === 'LogFull') return new LogFull(message);
  return new LogUnavailable(message);
}
