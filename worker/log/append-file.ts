import { closeSync, fsyncSync, ftruncateSync, writeSync } from 'node:fs';

/**
 * A file that only grows, and only by whole pieces: a piece that cannot be written to its end (full disk) is removed
 * again. Owns the descriptor.
 */
export class AppendFile {
  readonly fd: number;
  readonly #fsync: boolean;
  #bytes: number;
  #broken: unknown;

  /** @param bytes where the file's sound content ends; anything after is cut away */
  constructor(fd: number, bytes: number, fsync: boolean) {
    this.fd = fd;
    this.#bytes = bytes;
    this.#fsync = fsync;
  }

  /** Length of the sound content. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Cuts away what follows the sound content. */
  trim(): void {
    ftruncateSync(this.fd, this.#bytes);
    fsyncSync(this.fd);
  }

  /** Writes one piece, durable on return where `fsync` is on. Throws the system's error; the file is as it was. */
  append(piece: Uint8Array): void {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      for (let done = 0; done < piece.length; )
        done += writeSync(this.fd, piece, done, piece.length - done, this.#bytes + done);
      if (this.#fsync) fsyncSync(this.fd);
    } catch (error) {
      try {
        this.trim();
      } catch {
        // What is on the disk is not known any more: the next open finds out, this one writes nothing over it.
        this.#broken = error;
      }
      throw error;
    }
    this.#bytes += piece.length;
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** Whether a system error says that there is no room: disk, quota or size limit. */
export function isDiskFull(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
}
