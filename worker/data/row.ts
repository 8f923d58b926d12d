import { OnebyteError } from '../errors.ts';

/** One row of a source: field names to values. */
export type Row = Readonly<Record<string, unknown>>;

/** Reads one file of a known format. `source` is what messages call the source. */
export type Reader = (path: string, source: string) => AsyncIterable<Row>;

/** An error that says where in a source something is wrong. */
export function invalid(
  source: string,
  file: string,
  place: string,
  what: string,
  cause?: unknown,
): OnebyteError {
  return new OnebyteError('DATA_INVALID', `source '${source}', ${file}, ${place}: ${what}`, {
    field: source,
    cause,
    remedy: 'correct the file, or name its format with the field format',
  });
}
