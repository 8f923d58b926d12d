/**
 * Preloaded into a process: its wall clock jumps by hours several times a second, ahead and back at first, then back
 * alone, so that whatever was noted by it lies in the future.
 */
const HOURS = [5, -8, 30, -48, 0];
const BACK = 10;
const EVERY = 150;

const RealDate = Date;
const realNow = Date.now;
let hours = 0;
Date.now = () => realNow() + hours * 3_600_000;
// Who asks for the time in the other way is to get the same answer.
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, self) =>
    Reflect.construct(target, args.length === 0 ? [Date.now()] : args, self) as object,
});

let jumps = 0;
setInterval(() => {
  hours = HOURS[jumps++] ?? hours - BACK;
  if (process.connected) process.send!({ type: 'jumped', hours });
}, EVERY).unref();

export {};
