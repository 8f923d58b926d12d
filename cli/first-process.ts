/**
 * Signals to a container's first process. The kernel gives it none that it does not listen to, not even one that it sends
 * itself: what would end any other program is lost, and the container holds up its pod until it is killed, a minute later.
 */
import { constants } from 'node:os';

const FIRST = process.pid === 1;

/** Acts where nobody else listens: before a command does so, and in commands that never do. */
const fallback = (signal: NodeJS.Signals): void => {
  if (listenersTo(signal) === 0) endBy(signal);
};

export function listenAsFirst(): void {
  if (FIRST) for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, fallback);
}

/** How many listen to an event of this process and will do something about it. */
export function listenersTo(event: string): number {
  return process.listeners(event as NodeJS.Signals).filter((listener) => listener !== fallback).length;
}

/** Ends this process the way a signal does that nobody listens to. */
export function endBy(signal: NodeJS.Signals): void {
  // What a shell says of a program that this signal ended.
  if (FIRST) process.exit(128 + constants.signals[signal]);
  process.kill(process.pid, signal);
}
