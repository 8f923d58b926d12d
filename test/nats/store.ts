import { readFile, rm, truncate } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { NatsSystem } from './server.ts';

/** The high bit of a record's length says whether it has headers. */
const LENGTH_MASK = 0x7fffffff;

/**
 * Cuts the last `count` entries out of a stream's files, as a power loss before they reached the disk does. The server
 * is stopped. What the server noted about the files elsewhere is left as it was, or dropped with `notes`.
 * @returns the last sequence that is left
 */
export async function cutStore(
  system: NatsSystem,
  stream: string,
  count: number,
  options: { i?: number; notes?: 'keep' | 'drop' } = {},
): Promise<number> {
  const blocks = await system.blocks(stream, options.i);
  const records = (
    await Promise.all(blocks.map(async (path) => recordsIn(path, await readFile(path))))
  ).flat();
  const cut = records.at(-count);
  if (cut === undefined) throw new Error(`${stream} has ${records.length} entries, not ${count}`);
  const at = blocks.indexOf(cut.path);
  await truncate(cut.path, cut.start);
  for (const later of blocks.slice(at + 1)) await rm(later);
  if (options.notes === 'drop') await rm(join(dirname(blocks[0]!), 'index.db'), { force: true });
  return cut.seq - 1;
}

interface StoredRecord {
  readonly path: string;
  readonly seq: number;
  readonly start: number;
}

/** A record: its length in 4 bytes, its sequence in 8, a time, the subject, headers, data and a checksum. */
function recordsIn(path: string, bytes: Buffer): StoredRecord[] {
  const records: StoredRecord[] = [];
  for (let start = 0; start < bytes.length; ) {
    records.push({ path, start, seq: Number(bytes.readBigUInt64LE(start + 4)) });
    start += bytes.readUInt32LE(start) & LENGTH_MASK;
  }
  return records;
}
