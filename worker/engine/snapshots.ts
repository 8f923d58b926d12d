import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import type { Digest } from '../journal/record.ts';
import type { SnapshotFile } from '../round/checkpoint.ts';

/** Files of its own that an engine keeps, besides the one that it began from. */
const KEPT = 2;

/** One engine's snapshots in a folder of its own, each named by its digest. */
export class SnapshotFolder {
  readonly #folder: string;
  readonly #written: string[] = [];
  #base: string | null = null;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws OnebyteError FILE_UNWRITABLE, DISK_FULL, as errors of the system */
  write(bytes: Uint8Array): SnapshotFile {
    mkdirSync(this.#folder, { recursive: true });
    const digest = digestOf(bytes);
    const path = join(this.#folder, digest);
    writeFileSync(`${path}.tmp`, bytes);
    renameSync(`${path}.tmp`, path);
    if (!this.#written.includes(path)) this.#written.push(path);
    for (const old of this.#written.splice(0, Math.max(0, this.#written.length - KEPT)))
      if (old !== this.#base) rmSync(old, { force: true });
    return { digest, path, bytes: bytes.length };
  }

  /** A way to read a snapshot again and again. @throws OnebyteError, on reading, FILE_UNREADABLE as an error of the system; SNAPSHOT_INVALID */
  reader({ path, digest }: Pick<SnapshotFile, 'path' | 'digest'>): () => Uint8Array {
    this.#base = path;
    return () => {
      const bytes = new Uint8Array(readFileSync(path));
      if (digestOf(bytes) === digest) return bytes;
      throw new OnebyteError('SNAPSHOT_INVALID', `${path} is not what it was`, { field: path });
    };
  }
}

function digestOf(bytes: Uint8Array): Digest {
  return createHash('sha256').update(bytes).digest('hex');
}
