/** How a worker's process is started where another one starts it, and what it may use. */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { RUNS_SOURCES } from './programs.ts';

/** What `child_process.fork` takes. */
export interface ProcessSettings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly execArgv: string[];
}

/**
 * The C library's thresholds, and fixed: once a large piece is freed it would raise them to 32 MiB and more, and what a
 * forward pass gives back would stay with the process. Pieces from 32 KiB on have pages of their own, which go back when they
 * are freed; from 128 KiB on, as it is by itself, reading a model and building a graph leaves 10 MiB more between pieces
 * that stay. Each of the runtime's threads would otherwise keep freed memory of its own, too.
 */
const ALLOCATOR = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '32768',
  MALLOC_TRIM_THRESHOLD_: '65536',
} as const;

/** Room of new objects in MiB, for each thread that runs JavaScript: by default it grows to 16, and is kept. */
const YOUNG = '--max-semi-space-size=1';

/**
 * A process that keeps little besides the model. What `env` says itself holds.
 * @param compiled folder where Node keeps what it makes of sources: then no worker has a compiler of TypeScript in memory
 * @param sources whether the process runs sources: of a compiled program nothing is kept, which takes memory to write
 */
export function thinProcess(
  env: Readonly<Record<string, string | undefined>>,
  compiled: string,
  execArgv: readonly string[] = process.execArgv,
  sources = RUNS_SOURCES,
): ProcessSettings {
  return {
    env: { ...ALLOCATOR, ...(sources && { NODE_COMPILE_CACHE: join(compiled, 'compiled') }), ...env },
    execArgv: [YOUNG, ...execArgv],
  };
}

/** Bytes that this process may use: of the machine, or of its container. */
export function usableMemory(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
