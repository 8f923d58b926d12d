import { crc32 } from 'node:zlib';
import type { LogEntry } from '../log/log.ts';
import type { Reader } from './reader.ts';

/** What was delivered, as one number per entry: enough to see that the log holds something else by now. */
export class Prints {
  /** Of the first entry in `values`. */
  from: number;
  readonly values: number[];

  constructor(from: number, values: number[] = []) {
    this.from = from;
    this.values = values;
  }

  /** The last sequence that was delivered. */
  get last(): number {
    return this.from + this.values.length - 1;
  }

  add(entry: LogEntry): void {
    this.values.push(crc32(entry.data));
  }

  fits({ seq, data }: LogEntry): boolean {
    return this.values[seq - this.from] === crc32(data);
  }

  cut(last: number): void {
    this.values.length = Math.max(0, last + 1 - this.from);
    this.from = Math.min(this.from, last + 1);
  }

  /** What is known for somebody who goes on at `next`. */
  before(next: number): Prints {
    return this.from < next && next <= this.last + 1
      ? new Prints(this.from, this.values.slice(0, next - this.from))
      : new Prints(next);
  }
}

/** Before what is missing is looked for a second time, in milliseconds. */
const PAUSE = 250;

/**
 * The last sequence up to which the log holds what was delivered, by the server that leads; null where that is all of
 * it: another server had fallen behind. Said only when it is found twice, since a new leader may still catch up.
 */
export async function common(reader: Reader, prints: Prints): Promise<number | null> {
  const first = await shared(reader, prints);
  if (first >= prints.last) return null;
  await new Promise((resolve) => setTimeout(resolve, PAUSE));
  const again = await shared(reader, prints);
  return again >= prints.last ? null : again;
}

async function shared(reader: Reader, prints: Prints): Promise<number> {
  const { from, last } = prints;
  const end = (await reader.last())?.seq ?? 0;
  let [low, high] = [Math.min(from - 1, end), Math.min(last, end) + 1];
  // Entries up to `low` are shared, the one at `high` is not.
  while (low < high - 1) {
    const middle = (low + high) >> 1;
    const entry = await reader.at(middle);
    if (entry !== null && prints.fits(entry)) low = middle;
    else high = middle;
  }
  return low;
}
