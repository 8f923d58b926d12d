import { OnebyteError } from '../errors.ts';
import { GROUP } from './layout.ts';

/**
 * How a state's shared memory is used, in bytes: control words of the threads, a stage for each thread's kernels, a
 * buffer for the last, partial group of a copy, the tasks of one dispatch, the rows of one dispatch, the tensors, and
 * scratch space.
 */
export const MAX_THREADS = 32;
export const STAGE_BYTES = 256;
const CONTROL_BYTES = 1024;
export const STAGES = CONTROL_BYTES;
export const TAIL = STAGES + MAX_THREADS * STAGE_BYTES;
export const TASKS = TAIL + 4 * GROUP;
export const TASK_WORDS = 8;
export const MAX_TASKS = 1024;
const PAGE = 65_536;
export const ROWS = PAGE;
export const ROW_BYTES = 32;
/** Rows of one dispatch; more take several. */
export const MAX_ROWS = 1 << 15;
export const TENSORS = ROWS + MAX_ROWS * ROW_BYTES;
/** What 32-bit addresses reach. */
const MAX_BYTES = 2 ** 32;

/** @throws OnebyteError STATE_TOO_LARGE when 4 GiB, or the machine's memory, do not suffice */
export function allocate(bytes: number): WebAssembly.Memory {
  const remedy = 'train fewer layers, or use scope subspace or lora instead of full';
  if (bytes > MAX_BYTES)
    throw new OnebyteError('STATE_TOO_LARGE', `a state of ${bytes} bytes, at most ${MAX_BYTES}`, { remedy });
  const pages = Math.ceil(bytes / PAGE);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new OnebyteError('STATE_TOO_LARGE', `no memory for a state of ${bytes} bytes`, { remedy, cause });
  }
}
