import { type ErrorCode, OnebyteError } from '../worker/errors.ts';
import { asOnebyteError } from '../worker/system-error.ts';

/** Exit codes of every command. */
export const EXIT = { done: 0, failed: 1, badInput: 2, verification: 3 } as const;

/** Codes that say that what was given is wrong, or that a check of it failed; all others exit with `failed`. */
const BAD_INPUT = new Set<ErrorCode>([
  'ARTIFACT_MISSING',
  'BASIS_INVALID',
  'CHAT_INVALID',
  'COMMAND_INVALID',
  'COMPLETION_EMPTY',
  'DATA_EMPTY',
  'DATA_FORMAT_UNKNOWN',
  'DATA_INVALID',
  'DATA_MISSING',
  'DIGEST_MISMATCH',
  'EXPORT_UNSUPPORTED',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
  'JOB_INVALID',
  'JOURNAL_VERSION',
  'LABELS_INVALID',
  'LABEL_UNKNOWN',
  'LOG_LOCKED',
  'LOG_VERSION',
  'MODEL_CONFIG_INVALID',
  'MODEL_FAMILY_UNKNOWN',
  'MODEL_FILE_INVALID',
  'MODEL_FILE_MISSING',
  'MODEL_MISMATCH',
  'MODEL_TENSOR_MISSING',
  'MODEL_TYPE_UNSUPPORTED',
  'NATS_CONFIG_INVALID',
  'NATS_DENIED',
  'NATS_STREAM_INVALID',
  'NATS_TLS',
  'NATS_VERSION',
  'OPERATOR_CONFIG_INVALID',
  'PLAN_INVALID',
  'RECORD_UNKNOWN_KIND',
  'RECORD_VERSION',
  'ROW_FIELD_MISSING',
  'RUN_FINISHED',
  'RUN_OTHER_JOB',
  'STORE_MISSING',
  'TASK_UNSUPPORTED',
  'TEMPLATE_INVALID',
  'TEXT_EMPTY',
  'URI_UNSUPPORTED',
  'WORKER_CONFIG_INVALID',
]);
const VERIFICATION = new Set<ErrorCode>(['JOURNAL_CORRUPT', 'LOG_CORRUPT', 'REPLICA_DIVERGED']);

export function exitCodeOf(error: unknown): number {
  const { code } = asOnebyteError(error);
  if (VERIFICATION.has(code)) return EXIT.verification;
  return BAD_INPUT.has(code) ? EXIT.badInput : EXIT.failed;
}

/** An error as people see it: code, what is wrong, what to do. Never a stack trace, unless ONEBYTE_DEBUG is set. */
export function errorLines(error: unknown, env: NodeJS.ProcessEnv = process.env): string[] {
  const { code, message, field, cause, remedy, stack } = asOnebyteError(error);
  const lines = [`error ${code}: ${message}`];
  if (field !== undefined && !message.includes(field)) lines.push(`  field: ${field}`);
  if (cause instanceof Error && !message.includes(cause.message)) lines.push(`  cause: ${cause.message}`);
  lines.push(`  what to do: ${remedy ?? `docs/errors.md tells of ${code}`}`);
  if (env.ONEBYTE_DEBUG && stack !== undefined) lines.push(stack);
  return lines;
}

/** Names the file that is wrong, where the error itself only says what is in it. */
export function inFile(path: string, error: unknown): OnebyteError {
  const known = asOnebyteError(error);
  if (known.field !== undefined) return known;
  const { code, message, cause, remedy } = known;
  const detail = { field: path, cause, ...(remedy === undefined ? {} : { remedy }) };
  return new OnebyteError(code, message, detail);
}
