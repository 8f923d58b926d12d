import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { asyncBufferFromFile, type Compressors, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { invalid, type Reader, type Row } from './row.ts';

/** Rows read at a time, so that a large row group is not in memory as objects all at once. */
const CHUNK = 8192;

const compressors: Compressors = {
  GZIP: (bytes) => gunzipSync(bytes),
  BROTLI: (bytes) => brotliDecompressSync(bytes),
  ZSTD: (bytes) => zstdDecompressSync(bytes),
};

/** Apache Parquet; dates come as ISO 8601 text, 64-bit numbers as bigint. */
export const readParquet: Reader = async function* (path, source) {
  let start = 0;
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    for (const group of metadata.row_groups) {
      const end = start + Number(group.num_rows);
      for (; start < end; start = Math.min(end, start + CHUNK)) {
        const rowEnd = Math.min(end, start + CHUNK);
        const rows = await parquetReadObjects({ file, metadata, compressors, rowStart: start, rowEnd });
        for (const row of rows) yield plain(row);
      }
    }
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw invalid(source, path, `row ${start + 1} or after it`, `cannot be read: ${what}`, cause);
  }
};

function plain(row: Record<string, unknown>): Row {
  const fields = Object.entries(row).map(([name, v]) => [name, v instanceof Date ? v.toISOString() : v]);
  return Object.fromEntries(fields);
}
