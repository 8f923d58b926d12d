import { type ErrorCode, OnebyteError } from '../errors.ts';
import { asOnebyteError } from '../system-error.ts';
import type { EngineFacts } from './engine.ts';

/** Calls from a worker's main thread to its engine's thread. */
export type Method =
  | 'commit'
  | 'commitAll'
  | 'snapshot'
  | 'begin'
  | 'rewind'
  | 'rebuild'
  | 'prepare'
  | 'probe'
  | 'evaluate'
  | 'digest'
  | 'tensors'
  | 'close';

export interface Call {
  readonly id: number;
  readonly method: Method;
  readonly args: readonly unknown[];
  /** Of `probe` and `evaluate`, in shared memory: not 0 once nobody wants the result. The value is then null. */
  readonly abandoned?: Int32Array;
}

/** An error as it crosses threads; a structured clone would lose its fields. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field: string | undefined;
  readonly remedy: string | undefined;
  /** What the cause said. */
  readonly cause: string | undefined;
  readonly stack: string | undefined;
}

export type Reply =
  | { readonly type: 'opened'; readonly facts: EngineFacts }
  | { readonly type: 'unopened'; readonly failure: Failure }
  | { readonly type: 'value'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly failure: Failure };

export function failureOf(error: unknown): Failure {
  const { code, message, field, remedy, cause, stack } = asOnebyteError(error);
  return { code, message, field, remedy, cause: cause instanceof Error ? cause.message : undefined, stack };
}

export function errorOf({ code, message, field, remedy, cause, stack }: Failure): OnebyteError {
  const error = new OnebyteError(code, message, {
    ...(field === undefined ? {} : { field }),
    ...(remedy === undefined ? {} : { remedy }),
    ...(cause === undefined ? {} : { cause: new Error(cause) }),
  });
  if (stack !== undefined) error.stack = stack;
  return error;
}
