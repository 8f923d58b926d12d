/** A group of processes with a limit of memory, as the kernel gives a container: version 1 or 2, whichever is there. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What has become of a group so far. */
export interface GroupUse {
  /** Most that was charged to the group at any time, in bytes: its processes' memory, and files that they were the first to read. */
  readonly peak: number;
  /** Waits for a page that had to come from the disk. */
  readonly majorFaults: number;
  /** Processes that the kernel ended for want of memory. */
  readonly killed: number;
}

const FIRST = '/sys/fs/cgroup/memory';
const SECOND = '/sys/fs/cgroup';

/** Why there can be no group here; undefined: there can. */
export function groupsMissing(): string | undefined {
  if (process.platform !== 'linux') return 'groups with a limit of memory are Linux’ own';
  if (process.getuid?.() !== 0) return 'a group with a limit of memory takes root to make';
  const known =
    existsSync(join(FIRST, 'memory.limit_in_bytes')) || existsSync(join(SECOND, 'cgroup.controllers'));
  return known ? undefined : 'no memory controller is mounted in /sys/fs/cgroup';
}

export class MemoryGroup {
  readonly #folder: string;
  readonly #second: boolean;

  private constructor(folder: string, second: boolean) {
    this.#folder = folder;
    this.#second = second;
  }

  /** @param limit bytes; null: none */
  static make(name: string, limit: number | null): MemoryGroup {
    const second = !existsSync(join(FIRST, 'memory.limit_in_bytes'));
    if (second) writeFileSync(join(SECOND, 'cgroup.subtree_control'), '+memory');
    const group = new MemoryGroup(join(second ? SECOND : FIRST, name), second);
    mkdirSync(group.#folder);
    if (limit === null) return group;
    group.#write(second ? 'memory.max' : 'memory.limit_in_bytes', String(Math.floor(limit)));
    // With swap, memory beyond the limit would be there all the same.
    const swap = second ? 'memory.swap.max' : 'memory.swappiness';
    if (existsSync(join(group.#folder, swap))) group.#write(swap, '0');
    return group;
  }

  /** The file that takes the number of a process that is to be in the group. */
  get members(): string {
    return join(this.#folder, 'cgroup.procs');
  }

  use(): GroupUse {
    const events = this.#second ? 'memory.events' : 'memory.oom_control';
    return {
      peak: Number(this.#read(this.#second ? 'memory.peak' : 'memory.max_usage_in_bytes')),
      majorFaults: this.#count('memory.stat', 'pgmajfault'),
      killed: this.#count(events, 'oom_kill'),
    };
  }

  /** Once its last process is gone, which the kernel notices in its own time. */
  async remove(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        rmdirSync(this.#folder);
        return;
      } catch (error) {
        if (tries === 100) throw error;
        await sleep(50);
      }
    }
  }

  #count(file: string, key: string): number {
    return Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(this.#read(file))?.[1] ?? 0);
  }

  #read(file: string): string {
    return readFileSync(join(this.#folder, file), 'utf8');
  }

  #write(file: string, value: string): void {
    writeFileSync(join(this.#folder, file), value);
  }
}
