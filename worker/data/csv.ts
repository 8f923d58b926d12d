import { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { invalid, type Reader, type Row } from './row.ts';
import { textOf } from './text.ts';

/** Comma-separated values as RFC 4180 has them; the first row names the fields. */
export const readCsv: Reader = async function* (path, source) {
  const columns = (header: string[]): string[] => {
    const twice = header.find((name, i) => header.indexOf(name) < i);
    const empty = header.findIndex((name) => name.trim() === '');
    if (twice !== undefined) throw invalid(source, path, 'row 1', `names the column ${twice} twice`);
    if (empty >= 0) throw invalid(source, path, `row 1, column ${empty + 1}`, 'names no field');
    return header;
  };
  const parser = parse({ columns, skip_empty_lines: true });
  const broken = (line: number) => invalid(source, path, `line ${line}`, 'is not UTF-8');
  // An error of the file must end the iteration too.
  Readable.from(textOf(path, broken))
    .on('error', (error) => parser.destroy(error))
    .pipe(parser);
  try {
    for await (const row of parser) yield row as Row;
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw cause;
    const { lines, column, index } = cause as unknown as Record<string, unknown>;
    const where = typeof column === 'string' ? column : typeof index === 'number' ? index + 1 : undefined;
    throw invalid(
      source,
      path,
      `line ${lines}${where === undefined ? '' : `, column ${where}`}`,
      cause.message,
      cause,
    );
  }
};
