import { OnebyteError } from './errors.ts';
import { isDiskFull } from './log/append-file.ts';
import { LogFull, LogUnavailable } from './log/log.ts';

/** Calls that change what is on the disk. `open` is not among them: it serves both, and what is read is opened first. */
const WRITING = new Set([
  'copyfile',
  'fsync',
  'ftruncate',
  'link',
  'mkdir',
  'mkdtemp',
  'rename',
  'rm',
  'rmdir',
  'unlink',
  'write',
]);

/** Any error as one that people can act on: what the operating system and a log say gets a code and a remedy. */
export function asOnebyteError(error: unknown): OnebyteError {
  if (error instanceof OnebyteError) return error;
  if (isDiskFull(error) || error instanceof LogFull) return diskFull(error as Error);
  if (error instanceof LogUnavailable && error.remedy !== undefined)
    return new OnebyteError('NATS_UNREACHABLE', error.message, { cause: error.cause, remedy: error.remedy });
  const { syscall, path, code } = error as { syscall?: string; path?: string; code?: string };
  if (syscall !== undefined && path !== undefined) {
    const writes = WRITING.has(syscall) || code === 'EROFS';
    return writes ? unwritable(path, error) : unreadable(path, error);
  }
  const message = error instanceof Error ? error.message : String(error);
  const internal = new OnebyteError('INTERNAL', message, {
    cause: error,
    remedy: 'run again with ONEBYTE_DEBUG=1 and report what it prints',
  });
  if (error instanceof Error && error.stack !== undefined) internal.stack = error.stack;
  return internal;
}

export function unreadable(path: string, cause: unknown): OnebyteError {
  return new OnebyteError('FILE_UNREADABLE', `${path} cannot be read`, {
    field: path,
    cause,
    remedy: 'check the path, and that you may read it',
  });
}

export function unwritable(path: string, cause: unknown): OnebyteError {
  if (isDiskFull(cause) || cause instanceof LogFull) return diskFull(cause as Error);
  return new OnebyteError('FILE_UNWRITABLE', `${path} cannot be written`, {
    field: path,
    cause,
    remedy: 'choose a place on a disk that you may write to',
  });
}

function diskFull(cause: Error): OnebyteError {
  const { path } = cause as { path?: string };
  return new OnebyteError('DISK_FULL', `there is no room left${path === undefined ? '' : ` for ${path}`}`, {
    cause,
    remedy: 'make room on the disk and give the same command again: what was committed is kept',
  });
}
