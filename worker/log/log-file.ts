import { fstatSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { OnebyteError } from '../errors.ts';

/**
 * The embedded log's file: 8 bytes of header, then per entry a frame: length of the data (u32), CRC-32 of sequence and
 * data (u32), data. Little endian. The sequence in the checksum refuses a frame that is not where it was written, and
 * a run of zeros.
 */
export const LOG_HEADER = Uint8Array.of(0x89, 0x31, 0x42, 0x4c, 0x0d, 0x0a, 1, 0);
const VERSION_AT = 6;
export const FRAME_HEAD = 8;
/** No entry is larger. */
export const MAX_ENTRY = 1 << 25;

export function frameOf(seq: number, data: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(FRAME_HEAD + data.length);
  frame.writeUInt32LE(data.length, 0);
  frame.writeUInt32LE(checksum(seq, data), 4);
  frame.set(data, FRAME_HEAD);
  return frame;
}

export interface Scan {
  /** Where each entry's frame begins, by sequence - 1. */
  readonly offsets: number[];
  /** End of the last whole frame. */
  readonly bytes: number;
  /** Bytes after it: a write that was cut short. */
  readonly torn: number;
}

/**
 * Finds the frames of a log file. An append reaches the disk before the next one begins, so only the last frame can be
 * torn: a bad frame with a good one after it is damage.
 * @throws OnebyteError LOG_CORRUPT, LOG_VERSION.
 */
export function scanLog(fd: number, path: string): Scan {
  const { size } = fstatSync(fd);
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const count = readSync(fd, bytes, at, size - at, at);
    if (count === 0) break;
    at += count;
  }
  return scan(bytes, path);
}

function scan(bytes: Uint8Array, path: string): Scan {
  const header = bytes.subarray(0, LOG_HEADER.length);
  const begun = header.every((byte, i) => byte === LOG_HEADER[i] || i >= VERSION_AT);
  if (!begun)
    throw new OnebyteError('LOG_CORRUPT', `this file is not a log: ${path}`, {
      field: path,
      remedy: 'Give the run another directory with --out.',
    });
  // A header cut short: the log was being created, nothing was ever acknowledged.
  if (header.length < LOG_HEADER.length) return { offsets: [], bytes: 0, torn: bytes.length };
  if (header[VERSION_AT] !== LOG_HEADER[VERSION_AT])
    throw new OnebyteError(
      'LOG_VERSION',
      `a log of format version ${header[VERSION_AT]}; this program reads version ${LOG_HEADER[VERSION_AT]}`,
      { field: path, remedy: 'Go on with the version of onebyte that started this run.' },
    );
  const offsets: number[] = [];
  let at = LOG_HEADER.length;
  for (;;) {
    const length = frameAt(bytes, at, offsets.length + 1);
    if (length === null) break;
    offsets.push(at);
    at += length;
  }
  const found = at < bytes.length ? nextGood(bytes, at + 1, offsets.length + 1) : null;
  if (found !== null)
    throw new OnebyteError(
      'LOG_CORRUPT',
      `entry ${offsets.length + 1} at byte ${at} is damaged, and sound ones follow at byte ${found}`,
      {
        field: path,
        remedy: 'Restore the file from a copy; the journal beside it holds the run up to that entry.',
      },
    );
  return { offsets, bytes: at, torn: bytes.length - at };
}

/** Length of the whole frame of entry `seq` at `at`; null where there is none. */
function frameAt(bytes: Uint8Array, at: number, seq: number): number | null {
  if (at + FRAME_HEAD > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEAD);
  const length = view.getUint32(0, true);
  if (length > MAX_ENTRY || at + FRAME_HEAD + length > bytes.length) return null;
  const data = bytes.subarray(at + FRAME_HEAD, at + FRAME_HEAD + length);
  return checksum(seq, data) === view.getUint32(4, true) ? FRAME_HEAD + length : null;
}

/** Where the frame after a bad one begins, if there is one anywhere. */
function nextGood(bytes: Uint8Array, from: number, bad: number): number | null {
  for (let at = from; at + FRAME_HEAD <= bytes.length; at++)
    if (frameAt(bytes, at, bad + 1) !== null) return at;
  return null;
}

function checksum(seq: number, data: Uint8Array): number {
  const head = Buffer.alloc(8);
  head.writeDoubleLE(seq, 0);
  return crc32(data, crc32(head));
}
