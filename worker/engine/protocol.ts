import { type ErrorCode, OnebyteError } from '../errors.ts';
import type { EngineFacts } from './engine.ts';

/** Calls from a worker's main thread to its engine's thread. */
export type Method = 'commit' | 'rewind' | 'rebuild' | 'probe' | 'evaluate' | 'digest' | 'close';

export interface Call {
  readonly id: number;
  readonly method: Method;
  readonly args: readonly unknown[];
}

/** An error as it crosses threads; a structured clone would lose its fields. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field: string | undefined;
  readonly remedy: string | undefined;
  readonly stack: string | undefined;
}

export type Reply =
  | { readonly type: 'opened'; readonly facts: EngineFacts }
  | { readonly type: 'unopened'; readonly failure: Failure }
  | { readonly type: 'value'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly failure: Failure };

export function failureOf(error: unknown): Failure {
  if (error instanceof OnebyteError) {
    const { code, message, field, remedy, stack } = error;
    return { code, message, field, remedy, stack };
  }
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  return { code: 'INTERNAL', message, field: undefined, remedy: undefined, stack };
}

export function errorOf({ code, message, field, remedy, stack }: Failure): OnebyteError {
  const error = new OnebyteError(code, message, {
    ...(field === undefined ? {} : { field }),
    ...(remedy === undefined ? {} : { remedy }),
  });
  if (stack !== undefined) error.stack = stack;
  return error;
}
