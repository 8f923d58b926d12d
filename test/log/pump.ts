import type { VirtualTime } from '../../worker/log/virtual-time.ts';

/** Lets virtual time pass whenever the real event loop is idle, until the returned function is called. */
export function pump(time: VirtualTime): () => void {
  let stopped = false;
  const turn = () => {
    if (stopped) return;
    time.step();
    setImmediate(turn);
  };
  turn();
  return () => {
    stopped = true;
  };
}
