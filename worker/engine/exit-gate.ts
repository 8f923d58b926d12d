import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

/**
 * ONNX Runtime cannot be interrupted: a process that ends while one of its threads is in a call of the runtime is
 * aborted (exit code 134, whatever was asked for). So a process that has such threads waits, as it ends, until they
 * are out, and lets none of them in again.
 */
const KEY = 'onebyte/exit-gate';
/** Threads that are inside; whether nobody gets in any more; what nobody ever wakes. */
const [INSIDE, CLOSED, NEVER] = [0, 1, 2];
/** Longest wait, in milliseconds: a call is one chunk of a round. */
const LONGEST = 10_000;

/** Puts a gate before the runtime for all threads that this one starts from now on. */
export function guardExit(): void {
  if (getEnvironmentData(KEY) !== undefined) return;
  const gate = new Int32Array(new SharedArrayBuffer(12));
  setEnvironmentData(KEY, gate);
  process.on('exit', () => {
    Atomics.store(gate, CLOSED, 1);
    const until = performance.now() + LONGEST;
    for (let inside = 1; inside > 0 && performance.now() < until; ) {
      inside = Atomics.load(gate, INSIDE);
      if (inside > 0) Atomics.wait(gate, INSIDE, inside, until - performance.now());
    }
  });
}

/** Makes a call of the runtime; behind a closed gate it waits for the end of the process. */
export async function throughGate<T>(call: () => Promise<T>): Promise<T> {
  const gate = getEnvironmentData(KEY) as Int32Array | undefined;
  if (gate === undefined) return call();
  Atomics.add(gate, INSIDE, 1);
  try {
    if (Atomics.load(gate, CLOSED) !== 0) {
      leave(gate);
      Atomics.wait(gate, NEVER, 0);
    }
    return await call();
  } finally {
    leave(gate);
  }
}

function leave(gate: Int32Array): void {
  Atomics.sub(gate, INSIDE, 1);
  Atomics.notify(gate, INSIDE);
}
