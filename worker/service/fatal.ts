import { writeFileSync } from 'node:fs';
import { OnebyteError } from '../errors.ts';
import { LogFull } from '../log/log.ts';
import { asOnebyteError } from '../system-error.ts';

/** The kubelet shows so much of a termination message. */
const MAX_BYTES = 4096;

/** Whatever ended the worker, as an error with a code. */
export function fatalOf(error: unknown): OnebyteError {
  if (error instanceof OnebyteError) return error;
  if (error instanceof LogFull)
    return new OnebyteError('LOG_FULL', error.message, {
      cause: error,
      remedy:
        'Give the stream more room (max_bytes), or the server more disk; workers then go on where they were.',
    });
  return asOnebyteError(error);
}

/** A mistake as a termination message: `CODE: what`, then `field: ...` and `remedy: ...` where there are. */
export function terminationMessage({ code, message, field, remedy }: OnebyteError): string {
  const rest = [
    ...(field === undefined ? [] : [`field: ${field}`]),
    ...(remedy === undefined ? [] : [`remedy: ${remedy}`]),
  ].join('\n');
  const room = MAX_BYTES - Buffer.byteLength(`${code}: \n${rest}\n`);
  return `${code}: ${clipped(message, room)}\n${rest}${rest === '' ? '' : '\n'}`;
}

/** Writes it where Kubernetes looks for it; elsewhere there may be no such file, which is no error. */
export function writeTermination(path: string, error: OnebyteError): void {
  try {
    writeFileSync(path, terminationMessage(error));
  } catch {
    // The log has it too.
  }
}

function clipped(text: string, bytes: number): string {
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return text;
  return `${new TextDecoder().decode(encoded.subarray(0, Math.max(0, bytes - 6))).replace(/\uFFFD+$/, '')}...`;
}
