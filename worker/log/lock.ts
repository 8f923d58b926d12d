import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { OnebyteError } from '../errors.ts';

/** Holder of a lock file: a process id, and what tells this process from a later one with the same id. */
interface Holder {
  readonly pid: number;
  readonly start: string;
}

/**
 * Takes the lock file at `path` for this process and returns what gives it back. The lock of a process that no longer
 * runs is taken over.
 * @throws OnebyteError LOG_LOCKED with the process id of the holder.
 */
export function takeLock(path: string): () => void {
  const mine = JSON.stringify({ pid: process.pid, start: startOf(process.pid) } satisfies Holder);
  const draft = `${path}.${process.pid}`;
  // The file appears whole under its name or not at all, so nobody reads half of a holder.
  writeFileSync(draft, mine);
  try {
    while (!tryLink(draft, path)) clearStale(path);
  } finally {
    unlinkSync(draft);
  }
  return () => {
    if (contentOf(path) === mine) unlinkSync(path);
  };
}

function clearStale(path: string): void {
  const content = contentOf(path);
  if (content === null) return;
  const holder = parse(content);
  if (holder !== null && runs(holder))
    throw new OnebyteError('LOG_LOCKED', `another run uses this directory: process ${holder.pid}`, {
      field: path,
      remedy: 'Wait for it to end, or give this run another directory with --out.',
    });
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  // Between reading and moving, another process may have taken the stale lock over: then this is its new one.
  if (contentOf(aside) !== content) tryLink(aside, path);
  unlinkSync(aside);
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}

function contentOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function parse(content: string): Holder | null {
  try {
    const { pid, start } = JSON.parse(content);
    return Number.isInteger(pid) && pid > 0 && typeof start === 'string' ? { pid, start } : null;
  } catch {
    return null;
  }
}

function runs({ pid, start }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false;
  }
  return startOf(pid) === start;
}

/** When a process started, as the system tells it: boot and clock ticks on Linux, nothing elsewhere. */
function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    // The second field is the program's name in parentheses and may hold spaces; the 20th after it is the start time.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; only its parent has not yet asked.
    return fields[0] === 'Z' ? 'ended' : `${boot} ${fields[19]}`;
  } catch {
    return '';
  }
}
