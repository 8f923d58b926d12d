/** Codes of the errors that people see; `docs/errors.md` says what to do about each. Sorted. */
export const ERROR_CODES = [
  'ARCHIVE_INVALID',
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
  'DISK_FULL',
  'DOWNLOAD_FAILED',
  'DOWNLOAD_TOO_LARGE',
  'ENGINE_FAILED',
  'EXPORT_UNSUPPORTED',
  'FILE_UNREADABLE',
  'FILE_UNWRITABLE',
  'GRID_RANGE',
  'INTERNAL',
  'INTERRUPTED',
  'JOB_INVALID',
  'JOURNAL_CORRUPT',
  'JOURNAL_VERSION',
  'LABELS_INVALID',
  'LABEL_UNKNOWN',
  'LOG_CORRUPT',
  'LOG_FULL',
  'LOG_LOCKED',
  'LOG_VERSION',
  'MODEL_CONFIG_INVALID',
  'MODEL_FAMILY_UNKNOWN',
  'MODEL_FILE_INVALID',
  'MODEL_FILE_MISSING',
  'MODEL_MISMATCH',
  'MODEL_TENSOR_MISSING',
  'MODEL_TYPE_UNSUPPORTED',
  'MODEL_UNAVAILABLE',
  'NATS_CONFIG_INVALID',
  'NATS_DENIED',
  'NATS_STREAM_INVALID',
  'NATS_STREAM_MISSING',
  'NATS_TLS',
  'NATS_UNREACHABLE',
  'NATS_VERSION',
  'OPERATOR_CONFIG_INVALID',
  'OPERATOR_LEASE_LOST',
  'PIP_FAILED',
  'PLAN_INVALID',
  'RECORD_INVALID',
  'RECORD_TRUNCATED',
  'RECORD_UNKNOWN_KIND',
  'RECORD_VERSION',
  'REPLICA_DIVERGED',
  'ROW_FIELD_MISSING',
  'RUN_FINISHED',
  'RUN_OTHER_JOB',
  'SNAPSHOT_INVALID',
  'STATE_TOO_LARGE',
  'STORE_MISSING',
  'TASK_UNSUPPORTED',
  'TEMPLATE_INVALID',
  'TEXT_EMPTY',
  'URI_UNSUPPORTED',
  'WORKER_CONFIG_INVALID',
  'WORKER_FAILED',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorDetail {
  /** The field or file that is wrong, as the user would name it. */
  readonly field?: string;
  /** What to do next. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** An error with a code, a field, a cause and a remedy; never shown as a stack trace. */
export class OnebyteError extends Error {
  override readonly name = 'OnebyteError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly remedy: string | undefined;
  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.field = detail.field;
    this.remedy = detail.remedy;
  }
}
