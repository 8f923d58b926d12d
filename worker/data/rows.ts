/** The rows of a data source, wherever it is and whatever its format. */
import { type Dirent, existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import type { SourceSpec } from '../journal/job.ts';
import { readCsv } from './csv.ts';
import { type DownloadOptions, download } from './download.ts';
import { readJsonl } from './jsonl.ts';
import { localPath } from './local-path.ts';
import { readParquet } from './parquet.ts';
import { addressOf, isRemote } from './remote.ts';
import type { Reader, Row } from './row.ts';

export type { Row } from './row.ts';

export type Format = NonNullable<SourceSpec['format']>;

const READERS: Readonly<Record<Format, Reader>> = { jsonl: readJsonl, csv: readCsv, parquet: readParquet };
const EXTENSIONS: Readonly<Record<string, Format>> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.csv': 'csv',
  '.parquet': 'parquet',
};

export interface DataContext {
  /** Folder that relative paths begin at: the job file's, or the worker's data folder. */
  readonly folder: string;
  /** Folder for downloads that are thrown away after reading. */
  readonly temporary?: string;
  readonly download?: DownloadOptions;
  /** Credentials for s3://; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Most bytes of a source that comes over the network. */
const MAX_DOWNLOAD = 8 * 2 ** 30;

/** What messages call a source: its name, or else where it is. */
export function nameOf(source: SourceSpec): string {
  return source.name ?? source.uri;
}

/**
 * All rows of a source.
 * @throws OnebyteError DATA_EMPTY, and all that `readRows` throws
 */
export async function loadRows(source: SourceSpec, context: DataContext): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows(source, context)) rows.push(row);
  if (rows.length > 0) return rows;
  throw new OnebyteError('DATA_EMPTY', `source '${nameOf(source)}' has no rows: ${source.uri}`, {
    field: nameOf(source),
    remedy: 'name a file with at least one row',
  });
}

/**
 * The rows of a source, file by file, one at a time.
 * @throws OnebyteError DATA_MISSING, DATA_INVALID, DATA_FORMAT_UNKNOWN, DOWNLOAD_FAILED, DOWNLOAD_TOO_LARGE,
 * URI_UNSUPPORTED, WORKER_CONFIG_INVALID
 */
export async function* readRows(source: SourceSpec, context: DataContext): AsyncGenerator<Row> {
  if (!isRemote(source.uri)) {
    for (const file of await filesOf(source, context))
      yield* READERS[formatOf(source, file)](file, nameOf(source));
    return;
  }
  const name = basename(new URL(source.uri).pathname);
  const format = formatOf(source, name);
  const folder = await mkdtemp(join(context.temporary ?? tmpdir(), 'onebyte-'));
  try {
    const file = join(folder, name || 'data');
    const address = await addressOf(source.uri, context.env);
    await download(address, file, { maxBytes: MAX_DOWNLOAD, ...context.download, name: source.uri });
    yield* READERS[format](file, nameOf(source));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function filesOf(source: SourceSpec, context: DataContext): Promise<string[]> {
  const path = localPath(source.uri, context.folder, nameOf(source));
  if (!existsSync(path)) throw missing(source, path, 'does not exist');
  if (!(await stat(path)).isDirectory()) return [path];
  const wanted = (entry: Dirent): boolean => {
    const format = EXTENSIONS[extname(entry.name).toLowerCase()];
    return !entry.isDirectory() && format !== undefined && (source.format ?? format) === format;
  };
  const entries = await readdir(path, { withFileTypes: true });
  const names = entries.filter(wanted).map((entry) => entry.name);
  if (names.length === 0) throw missing(source, path, `holds no ${source.format ?? 'data'} file`);
  return names.sort((a, b) => (a < b ? -1 : 1)).map((name) => join(path, name));
}

function missing(source: SourceSpec, path: string, what: string): OnebyteError {
  return new OnebyteError('DATA_MISSING', `source '${nameOf(source)}': ${path} ${what}`, {
    field: nameOf(source),
    remedy: 'relative paths begin at the folder of the job file',
  });
}

function formatOf(source: SourceSpec, file: string): Format {
  const format = source.format ?? EXTENSIONS[extname(file).toLowerCase()];
  if (format) return format;
  throw new OnebyteError(
    'DATA_FORMAT_UNKNOWN',
    `source '${nameOf(source)}': the name ${basename(file)} tells no format`,
    {
      field: nameOf(source),
      remedy: `set format to ${Object.keys(READERS).join(', ')}, or end the name with ${Object.keys(EXTENSIONS).join(', ')}`,
    },
  );
}
