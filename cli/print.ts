import { OnebyteError } from '../worker/errors.ts';

/** Exit codes of every command. */
export const EXIT = { done: 0, failed: 1, badInput: 2, verification: 3 } as const;

/** Codes that say that what was given is wrong, or that a check of it failed; all others exit with `failed`. */
const BAD_INPUT = new Set([
  'ARTIFACT_MISSING',
  'BASIS_INVALID',
  'DATA_EMPTY',
  'DATA_FORMAT_UNKNOWN',
  'DATA_INVALID',
  'DATA_MISSING',
  'DIGEST_MISMATCH',
  'EXPORT_UNSUPPORTED',
  'FILE_UNREADABLE',
  'JOB_INVALID',
  'JOURNAL_VERSION',
  'LABELS_INVALID',
  'LABEL_UNKNOWN',
  'LOG_LOCKED',
  'MODEL_CONFIG_INVALID',
  'MODEL_FAMILY_UNKNOWN',
  'MODEL_FILE_INVALID',
  'MODEL_FILE_MISSING',
  'MODEL_MISMATCH',
  'MODEL_TENSOR_MISSING',
  'PLAN_INVALID',
  'RECORD_UNKNOWN_KIND',
  'RECORD_VERSION',
  'ROW_FIELD_MISSING',
  'RUN_FINISHED',
  'RUN_OTHER_JOB',
  'TEMPLATE_INVALID',
  'URI_UNSUPPORTED',
]);
const VERIFICATION = new Set(['JOURNAL_CORRUPT', 'LOG_CORRUPT']);

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof OnebyteError)) return EXIT.failed;
  if (VERIFICATION.has(error.code)) return EXIT.verification;
  return BAD_INPUT.has(error.code) ? EXIT.badInput : EXIT.failed;
}

/** An error as people see it: code, what is wrong, what to do. Never a stack trace, unless ONEBYTE_DEBUG is set. */
export function errorLines(error: unknown, env: NodeJS.ProcessEnv = process.env): string[] {
  const lines: string[] = [];
  if (error instanceof OnebyteError) {
    lines.push(`error ${error.code}: ${error.message}`);
    if (error.field !== undefined && !error.message.includes(error.field))
      lines.push(`  field: ${error.field}`);
    if (error.cause instanceof Error && !error.message.includes(error.cause.message))
      lines.push(`  cause: ${error.cause.message}`);
    if (error.remedy !== undefined) lines.push(`  what to do: ${error.remedy}`);
  } else {
    lines.push(`error INTERNAL: ${error instanceof Error ? error.message : String(error)}`);
    lines.push('  what to do: run again with ONEBYTE_DEBUG=1 and report what it prints');
  }
  if (env.ONEBYTE_DEBUG && error instanceof Error && error.stack) lines.push(error.stack);
  return lines;
}
