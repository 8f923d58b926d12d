/** Reads single entries out of a zip file (no zip64, no encryption), as wheels are. */
import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createInflateRaw } from 'node:zlib';
import { OnebyteError } from '../errors.ts';

interface Entry {
  readonly method: number;
  readonly packed: number;
  readonly offset: number;
}

const END = 0x06054b50;
const DIRECTORY = 0x02014b50;
/** The end record is 22 bytes and a comment of at most 65,535. */
const MAX_END = 22 + 65_535;

/**
 * Writes the named entries to the files they are mapped to.
 * @throws OnebyteError ARCHIVE_INVALID when the file is no zip file or lacks an entry
 */
export async function extract(zip: string, files: ReadonlyMap<string, string>): Promise<void> {
  const handle = await open(zip);
  try {
    const entries = await directoryOf(handle, zip);
    for (const [name, target] of files) {
      const entry = entries.get(name);
      if (!entry) throw broken(zip, `has no ${name}`);
      const header = await read(handle, zip, entry.offset, 30);
      const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
      const from = createReadStream(zip, { start, end: start + entry.packed - 1 });
      if (entry.method === 8) await pipeline(from, createInflateRaw(), createWriteStream(target));
      else await pipeline(from, createWriteStream(target));
    }
  } finally {
    await handle.close();
  }
}

async function directoryOf(handle: FileHandle, zip: string): Promise<Map<string, Entry>> {
  const { size } = await handle.stat();
  const tail = await read(handle, zip, Math.max(0, size - MAX_END), Math.min(size, MAX_END));
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== END) end--;
  if (end < 0) throw broken(zip, 'has no end record');
  const directory = await read(handle, zip, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries = new Map<string, Entry>();
  for (let at = 0; at + 46 <= directory.length; ) {
    if (directory.readUInt32LE(at) !== DIRECTORY) throw broken(zip, 'has a broken directory');
    const length = directory.readUInt16LE(at + 28);
    entries.set(directory.toString('utf8', at + 46, at + 46 + length), {
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      offset: directory.readUInt32LE(at + 42),
    });
    at += 46 + length + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

async function read(handle: FileHandle, zip: string, from: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, from);
  if (bytesRead !== length) throw broken(zip, 'is cut short');
  return bytes;
}

function broken(zip: string, what: string): OnebyteError {
  return new OnebyteError('ARCHIVE_INVALID', `${zip} ${what}`, { field: zip, remedy: 'fetch it again' });
}
