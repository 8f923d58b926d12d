import type { Scheduler } from '../../worker/log/virtual-time.ts';
import type { Clock } from '../../worker/round/clock.ts';

/** A member's clock in virtual time. */
export function clockOf(time: Scheduler): Clock {
  return {
    now: () => time.now,
    setTimer: (ms, run) => {
      let set = true;
      time.at(ms, () => set && run());
      return () => {
        set = false;
      };
    },
  };
}
