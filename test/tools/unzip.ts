import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { inflateRawSync } from 'node:zlib';

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
}

const endOfDirectory = 0x06054b50;
const directoryEntry = 0x02014b50;

function entriesOf(directory: Buffer, count: number): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0, n = 0; n < count; n++) {
    if (directory.readUInt32LE(at) !== directoryEntry) throw new Error('zip: bad directory entry');
    const name = directory.readUInt16LE(at + 28);
    entries.push({
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
      name: directory.toString('utf8', at + 46, at + 46 + name),
    });
    at += 46 + name + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

/** Unpacks a zip file (no zip64, no encryption) below `into`. Its files become executable: zips made without modes lose that. */
export async function unzip(file: string, into: string): Promise<void> {
  const handle = await open(file);
  const read = async (from: number, length: number): Promise<Buffer> => {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await handle.read(bytes, 0, length, from);
    if (bytesRead !== length) throw new Error('zip: file is cut short');
    return bytes;
  };
  try {
    const { size } = await handle.stat();
    // The end record is 22 bytes plus a comment of at most 65,535.
    const tail = await read(Math.max(0, size - 65_557), Math.min(size, 65_557));
    let end = tail.length - 22;
    while (end >= 0 && tail.readUInt32LE(end) !== endOfDirectory) end--;
    if (end < 0) throw new Error('zip: no end record');
    const directory = await read(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    for (const entry of entriesOf(directory, tail.readUInt16LE(end + 10))) {
      const target = join(into, normalize(entry.name));
      if (!target.startsWith(join(into, '/'))) throw new Error(`zip: ${entry.name} leaves the folder`);
      if (entry.name.endsWith('/')) continue;
      const header = await read(entry.offset, 30);
      const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
      const packed = await read(start, entry.packed);
      const bytes = entry.method === 0 ? packed : inflateRawSync(packed);
      if (bytes.length !== entry.size) throw new Error(`zip: ${entry.name} has the wrong size`);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, bytes, { mode: 0o755 });
    }
  } finally {
    await handle.close();
  }
}
