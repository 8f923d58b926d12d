import type { Client } from './client.ts';
import type { Clock } from './clock.ts';
import type { Controller } from './controller.ts';
import type { Recorder } from './events.ts';
import type { Elector } from './lease.ts';

/** A store that fills and follows its collection while it runs; see Informer. */
export interface Follower {
  readonly synced: Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

export interface RuntimeOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly informers: readonly Follower[];
  readonly controllers: readonly Pick<Controller, 'run'>[];
  /** Without one this process leads at once. */
  readonly elector?: Elector;
  readonly recorder?: Recorder;
  /** The process ends with an error when the stores are not filled by then. Default 2 minutes. */
  readonly syncMs?: number;
}

/**
 * Runs an operator until the signal is aborted: stores always, so that a standby is warm, controllers while leading.
 * Stops in order: no new passes, passes under way end, events are written, the lease is released, watches close.
 * Throws when the stores do not fill in time or the lease is lost; the process should then end.
 */
export async function runOperator(options: RuntimeOptions, signal: AbortSignal): Promise<void> {
  const { client, informers, controllers, elector, recorder } = options;
  const watches = new AbortController();
  const following = Promise.all(informers.map((informer) => informer.run(watches.signal)));
  const lead = async (work: AbortSignal) => {
    await synced(options, work);
    await Promise.all(controllers.map((controller) => controller.run(work)));
    await recorder?.flush();
  };
  try {
    await (elector === undefined ? lead(signal) : elector.run(signal, lead));
  } finally {
    watches.abort();
    await following;
    client.close();
  }
}

/** Waits until every store is filled, or the signal is aborted. */
async function synced(
  { informers, clock, syncMs = 120_000 }: RuntimeOptions,
  signal: AbortSignal,
): Promise<void> {
  const ender = new AbortController();
  const late = clock.sleep(syncMs, ender.signal).then(() => 'late');
  const stopped = new Promise<string>((resolve) => {
    if (signal.aborted) resolve('stopped');
    signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
  const filled = Promise.all(informers.map((informer) => informer.synced)).then(() => 'filled');
  const outcome = await Promise.race([filled, stopped, late]);
  ender.abort();
  if (outcome === 'late') throw new Error(`the stores were not filled within ${syncMs} ms`);
}

/** Aborted at SIGTERM or SIGINT. A second one ends the process at once. */
export function stopSignal(host: NodeJS.Process = process): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) host.exit(1);
    controller.abort();
  };
  host.on('SIGTERM', stop);
  host.on('SIGINT', stop);
  return controller.signal;
}
